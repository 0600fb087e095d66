# Reference values of jaxstroke/cohort/censoring.py and of weighted measures, for tests/cohort/test_censoring.py: reads censoring.csv (made up:
# days of follow-up, whether the event ended them, a predicted probability; all with ties), writes censoring.json.
#
#     Rscript tests/reference/censoring.R
#
# Run with R 4.2.2, survival 3.5-3, prodlim 2019.11.13, pec 2022.05.04, riskRegression 2022.11.28 and jsonlite 1.8.4 of Debian 12
# (r-cran-survival, r-cran-pec, r-cran-riskregression, r-cran-jsonlite). The tests read the json alone and need no R.

suppressPackageStartupMessages({ library(survival); library(prodlim); library(pec); library(riskRegression); library(jsonlite) })

script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
folder <- if (length(script)) dirname(script) else "."
patients <- read.csv(file.path(folder, "censoring.csv"))
days <- patients$days
happened <- patients$happened == 1
p <- patients$probability

# The chance of not being lost. survfit takes who has another status at the same time as still at risk; moved a moment forward, events come
# before losses. prodlim's reversed curve does so by itself.
early <- ifelse(happened, days - 0.1, days)
curve <- survfit(Surv(early, !happened) ~ 1)
chance <- function(at) summary(curve, times = at, extend = TRUE)$surv
reversed <- prodlim(Hist(days, happened) ~ 1, data = patients, reverse = TRUE)
times <- sort(unique(days[!happened]))
stopifnot(max(abs(chance(times) - predict(reversed, times = times, type = "surv"))) < 1e-12)

# Weights at a horizon, written out, and the measures as weighted sums.
before <- function(at) chance(at - 0.5) # days are whole
weighted <- function(horizon) {
  weight <- ifelse(happened & days <= horizon, 1 / sapply(days, before), ifelse(days >= horizon, 1 / before(horizon), 0))
  case <- which(happened & days <= horizon)
  control <- which(weight > 0 & !(happened & days <= horizon))
  pairs <- outer(weight[case], weight[control])
  wins <- outer(p[case], p[control], ">") + 0.5 * outer(p[case], p[control], "==")
  label <- as.numeric(happened & days <= horizon)
  known <- weight > 0
  ordered <- order(-p[known])
  hits <- cumsum((weight * label)[known][ordered])
  called <- cumsum(weight[known][ordered])
  last <- which(!duplicated(p[known][ordered], fromLast = TRUE))
  fitted <- suppressWarnings(glm(label ~ qlogis(p), family = binomial, weights = weight, subset = known, control = glm.control(1e-14, 100)))
  shift <- suppressWarnings(glm(label ~ offset(qlogis(p)), family = binomial, weights = weight, subset = known, control = glm.control(1e-14, 100)))
  list(
    horizon = horizon, weight = weight, sum = sum(weight), auc = sum(pairs * wins) / sum(pairs), prevalence = sum(weight * label) / sum(weight),
    brier = sum(weight * (label - p)^2) / sum(weight),
    auprc = sum(diff(c(0, hits[last])) / sum(weight * label) * hits[last] / called[last]),
    intercept = unname(coef(fitted)[1]), slope = unname(coef(fitted)[2]), in_the_large = unname(coef(shift)[1]),
    sensitivity = sum((weight * label)[p >= 0.5]) / sum(weight * label),
    specificity = sum((weight * (1 - label))[p < 0.5]) / sum(weight * (1 - label)),
    net_benefit = (sum((weight * label)[p >= 0.3]) - sum((weight * (1 - label))[p >= 0.3]) * 0.3 / 0.7) / sum(weight)
  )
}
apart <- weighted(365) # nobody is lost on that day
tied <- weighted(350) # some are lost on that day: they have reached the horizon

# The same by packages, which count those lost on the day of the horizon as lost: a horizon on which nobody is.
data <- data.frame(time = days, status = as.numeric(happened), p = p)
scored <- Score(list(model = p), formula = Surv(time, status) ~ 1, data = data, times = 365, metrics = c("auc", "brier"), cens.model = "km",
  conf.int = FALSE, null.model = FALSE, se.fit = FALSE)
error <- pec(list(model = matrix(1 - p)), formula = Surv(time, status) ~ 1, data = data, times = 365, exact = FALSE, start = NULL,
  cens.model = "marginal", reference = FALSE, verbose = FALSE)

packages <- c("survival", "prodlim", "pec", "riskRegression", "jsonlite")
write_json(
  list(
    versions = c(list(R = as.character(getRversion())), sapply(packages, function(name) as.character(packageVersion(name)), simplify = FALSE)),
    times = times, chance = chance(times), apart = apart, tied = tied,
    packages = list(auc = scored$AUC$score$AUC, brier = scored$Brier$score$Brier, pec = unname(tail(error$AppErr$model, 1)))
  ),
  file.path(folder, "censoring.json"), digits = NA, auto_unbox = TRUE, pretty = TRUE
)
