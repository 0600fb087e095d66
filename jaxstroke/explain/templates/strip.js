// The strip of images: in order or by importance, and each shown large by the viewer of the same image.
for (const section of document.querySelectorAll(".images")) {
  const list = section.querySelector(".strip"), sorts = section.querySelectorAll("[data-sort]");
  const viewer = [...document.querySelectorAll(".viewer")].find((one) => one.dataset.image === section.dataset.image);
  for (const button of sorts)
    button.addEventListener("click", () => {
      const cards = [...list.children];
      list.append(...cards.sort((a, b) => a.dataset[button.dataset.sort] - b.dataset[button.dataset.sort]));
      for (const other of sorts) other.setAttribute("aria-pressed", String(other === button));
    });
  for (const button of section.querySelectorAll("[data-slice]"))
    button.addEventListener("click", () => {
      if (!viewer) return;
      viewer.dispatchEvent(new CustomEvent("show", { detail: Number(button.dataset.slice) }));
      viewer.scrollIntoView({ block: "nearest" });
    });
  if (viewer)
    viewer.addEventListener("shown", (event) => {
      for (const button of section.querySelectorAll("[data-slice]"))
        button.setAttribute("aria-current", String(Number(button.dataset.slice) === event.detail));
    });
}
