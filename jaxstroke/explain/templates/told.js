// The report: a word that is chosen is shown where it looks, by every viewer that has its map.
for (const section of document.querySelectorAll(".told")) {
  const words = [...section.querySelectorAll("[data-map]")], says = section.querySelector(".says");
  const viewers = [...document.querySelectorAll(".viewer")].filter((one) => one.querySelector(".map"));
  const has = (viewer, map) => [...viewer.querySelector(".map").options].some((option) => option.value === map);
  const mark = () => {
    const maps = viewers.map((viewer) => viewer.querySelector(".map").value);
    for (const word of words) word.setAttribute("aria-pressed", String(maps.includes(word.dataset.map)));
  };
  for (const word of words)
    word.addEventListener("click", () => {
      const showing = viewers.filter((viewer) => has(viewer, word.dataset.map));
      for (const viewer of showing) viewer.dispatchEvent(new CustomEvent("map", { detail: word.dataset.map }));
      if (showing.length) showing[0].querySelector(".stage").scrollIntoView({ block: "nearest" });
      says.textContent = `${word.textContent}: ${word.dataset.says}`;
      mark();
    });
  for (const viewer of viewers) viewer.querySelector(".map").addEventListener("change", mark);
  mark();
}
