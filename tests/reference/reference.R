# Reference values of the statistics in jaxstroke/evaluation, for tests/evaluation/test_reference.py: reads patients.csv, writes reference.json.
#
#     Rscript tests/reference/reference.R
#
# Run with R 4.2.2, pROC 1.18.0, rms 6.5-0, psych 2.2.9 and jsonlite 1.8.4 of Debian 12 (r-base-core, r-cran-proc, r-cran-rms, r-cran-psych,
# r-cran-jsonlite). The tests read the json alone and need no R. Where no package has a statistic, its formula is written out in base R.

suppressPackageStartupMessages({ library(pROC); library(rms); library(psych); library(jsonlite) })

script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
folder <- if (length(script)) dirname(script) else "."
patients <- read.csv(file.path(folder, "patients.csv"))
label <- patients$label

curve <- function(rows, model) roc(label[rows], patients[[model]][rows], levels = c(0, 1), direction = "<", quiet = TRUE)
everyone <- seq_along(label)
folds <- split(everyone, patients$fold)

# AUC, DeLong's variance, covariance and paired test (pROC), of all patients and as means over folds of other patients.
first <- curve(everyone, "first")
second <- curve(everyone, "second")
delong <- list(
  auc = c(as.numeric(auc(first)), as.numeric(auc(second))), variance = c(var(first), var(second)), covariance = cov(first, second),
  p = roc.test(first, second, paired = TRUE, method = "delong")$p.value
)
mean_of <- function(parts, model) mean(sapply(parts, function(rows) as.numeric(auc(curve(rows, model)))))
variance_of <- function(parts, model) sum(sapply(parts, function(rows) var(curve(rows, model)))) / length(parts)^2
covariance_of <- function(parts) sum(sapply(parts, function(rows) cov(curve(rows, "first"), curve(rows, "second")))) / length(parts)^2
difference <- mean_of(folds, "first") - mean_of(folds, "second")
spread <- sqrt(variance_of(folds, "first") + variance_of(folds, "second") - 2 * covariance_of(folds))
over_folds <- list(auc = mean_of(folds, "first"), variance = variance_of(folds, "first"), difference = difference, p = 2 * pnorm(-abs(difference) / spread))

# Whether the AUC differs between groups of patients: chi-square of heterogeneity (Cochran's Q), weights 1 / variance. In one fold of group C
# the AUC is 1, of which pROC warns that its variance of 0 can mislead: it counts as it is.
groups <- lapply(split(everyone, patients$group), function(rows) split(rows, patients$fold[rows]))
aucs <- sapply(groups, mean_of, "first")
weights <- 1 / sapply(groups, variance_of, "first")
chi2 <- sum(weights * (aucs - weighted.mean(aucs, weights))^2)
heterogeneity <- list(
  groups = names(groups), auc = unname(aucs), chi2 = chi2, df = length(groups) - 1, p = pchisq(chi2, length(groups) - 1, lower.tail = FALSE)
)

# 95 % percentile interval of the AUC, resampled within each class (pROC).
set.seed(1)
found <- ci.auc(first, method = "bootstrap", boot.stratified = TRUE, boot.n = 20000, progress = "none")
bootstrap <- list(resamples = 20000, ci95 = c(found[1], found[3]))

# Calibration by glm, with its own convergence taken to the end, and by rms::val.prob, which stops earlier.
exact <- glm.control(epsilon = 1e-15, maxit = 100)
odds <- qlogis(patients$first)
slopes <- unname(coef(glm(label ~ odds, family = binomial, control = exact)))
large <- unname(coef(glm(label ~ 1 + offset(odds), family = binomial, control = exact)))
told <- val.prob(patients$first, label, pl = FALSE)
calibration <- list(
  intercept = slopes[1], slope = slopes[2], in_the_large = large, brier = mean((patients$first - label)^2),
  val_prob = list(intercept = told[["Intercept"]], slope = told[["Slope"]], brier = told[["Brier"]], auc = told[["C (ROC)"]])
)

# Net benefit (Vickers and Elkin 2006), worked: true positives less false ones at the odds of the threshold, a patient. The probabilities
# are moved by 0.0013, so that none equals a threshold.
moved <- patients$first + 0.0013
thresholds <- seq(0.02, 0.9, length.out = 45)
benefit <- sapply(thresholds, function(t) (sum(moved >= t & label == 1) - sum(moved >= t & label == 0) * t / (1 - t)) / length(label))
net_benefit <- list(moved_by = 0.0013, thresholds = thresholds, benefit = benefit)

# Kappa of two readers (psych), unweighted, with linear and with quadratic weights of agreement.
readers <- c("reader_a", "reader_b", "reader_c")
levels <- 5
apart <- abs(outer(1:levels, 1:levels, "-")) / (levels - 1)
cohen <- apply(combn(readers, 2), 2, function(pair) {
  grades <- patients[, pair]
  linear <- cohen.kappa(grades, w = 1 - apart, levels = 0:4)
  quadratic <- cohen.kappa(grades, w = 1 - apart^2, levels = 0:4)
  list(a = pair[1], b = pair[2], none = linear$kappa, linear = linear$weighted.kappa, quadratic = quadratic$weighted.kappa)
})

# Fleiss' kappa (1971), written out; beside the readers the often printed example of 10 subjects, 14 raters and 5 categories, whose kappa
# is 0.210. counts: subjects x categories.
fleiss <- function(counts) {
  raters <- sum(counts[1, ])
  agreement <- mean((rowSums(counts^2) - raters) / (raters * (raters - 1)))
  chance <- sum((colSums(counts) / sum(counts))^2)
  (agreement - chance) / (1 - chance)
}
of_readers <- t(apply(patients[, readers], 1, function(grades) table(factor(grades, levels = 0:4))))
example <- rbind(
  c(0, 0, 0, 0, 14), c(0, 2, 6, 4, 2), c(0, 0, 3, 5, 6), c(0, 3, 9, 2, 0), c(2, 2, 8, 1, 1),
  c(7, 7, 0, 0, 0), c(3, 2, 6, 3, 0), c(2, 5, 3, 2, 2), c(6, 5, 2, 1, 0), c(0, 2, 2, 3, 7)
)
fleiss_kappa <- list(readers = fleiss(of_readers), example = list(counts = example, kappa = fleiss(example), printed = 0.210))

# A reader who calls grades of 2 and more: Wilson's intervals (prop.test without correction), and the first model's sensitivity at the
# reader's specificity, by coords() on each fold's curve, then their mean.
called <- patients$reader_a >= 2
interval <- function(hits, n) as.numeric(prop.test(hits, n, correct = FALSE)$conf.int)
specificity <- mean(!called[label == 0])
at <- sapply(folds, function(rows) coords(curve(rows, "first"), x = specificity, input = "specificity", ret = "sensitivity")[[1]])
reader <- list(
  sensitivity = mean(called[label == 1]), sensitivity_ci95 = interval(sum(called[label == 1]), sum(label == 1)),
  specificity = specificity, specificity_ci95 = interval(sum(!called[label == 0]), sum(label == 0)), model_sensitivity = mean(at)
)

given <- c(0.04, 0.001, NA, 0.03, 0.6, 0.03, 0.2)
holm <- list(p = given, adjusted = p.adjust(given, "holm"))

packages <- sapply(c("pROC", "rms", "psych", "jsonlite"), function(name) as.character(packageVersion(name)))
content <- list(
  r = paste(R.version$major, R.version$minor, sep = "."), packages = as.list(packages), patients = length(label), delong = delong,
  over_folds = over_folds, heterogeneity = heterogeneity, bootstrap = bootstrap, calibration = calibration, net_benefit = net_benefit,
  cohen = cohen, fleiss = fleiss_kappa, reader = reader, holm = holm
)
write_json(content, file.path(folder, "reference.json"), auto_unbox = TRUE, digits = NA, pretty = TRUE, na = "null")
