"""Who writes the cohort table: `config.cohort.recipe`. Each recipe maps (config, workdir) to the path of a table."""

from jaxstroke.cohort import synthetic, synthetic_ct_jpg, synthetic_ich, synthetic_reports, synthetic_retina
from jaxstroke.cohort.public import csic_ich, ist, medmnist3d, soop
from jaxstroke.errors import InputError, nearest


def own_table(config, workdir):
    """The user's own CSV file, `cohort.table`."""
    if not config.cohort.table:
        raise InputError("config.cohort.table is empty: set --config.cohort.table=my.csv to your table, one row a patient.")
    return config.cohort.table


RECIPES = {
    "table": own_table, "synthetic": synthetic.make, "synthetic_ich": synthetic_ich.make,
    "synthetic_ct_jpg": synthetic_ct_jpg.make, "synthetic_retina": synthetic_retina.make, "synthetic_reports": synthetic_reports.make,
    "soop": soop.make, "ist": ist.make, "csic_ich": csic_ich.make, "medmnist3d": medmnist3d.make,
}  # fmt: skip


def table_of(config, workdir):
    """Path of the cohort's table, written first where the recipe is not "table". Unknown recipes raise with the known ones."""
    recipe = config.cohort.recipe
    if recipe not in RECIPES:
        raise InputError(f"config.cohort.recipe '{recipe}' is unknown.{nearest(recipe, RECIPES)}")
    return RECIPES[recipe](config, workdir)
