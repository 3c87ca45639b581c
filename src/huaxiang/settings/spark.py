"""[spark]: where Spark runs and which tables it reads and writes; used where [shop] engine is "spark"."""

from __future__ import annotations

from pydantic import Field, model_validator

from huaxiang.settings.base import Section

READ = ("events", "items", "users", "relations", "identifiers", "links")
WRITTEN = (
    "ready_users",
    "ready_items",
    "ready_events",
    "ready_fakes",
    "features",
    "training",
    "labels",
    "predictions",
    "profiles",
)


def _table(what: str) -> str:
    return Field(
        default="", description=f"{what}: a catalog table (shop.events) or a folder; empty: the shop's own lake"
    )


class SparkTables(Section):
    """Tables read (their columns: the five tables of the contract) and tables written. A name with a / in it is a folder."""

    events: str = _table("clean events")
    items: str = _table("clean items")
    users: str = _table("clean users")
    relations: str = _table("ties between users")
    identifiers: str = _table("identifiers seen together, from which visitors are linked to users")
    links: str = _table("the ledger of who is who (anonymous_id, user_id, since, known_at), in place of linking here")
    ready_users: str = _table("written: merged users")
    ready_items: str = _table("written: merged items")
    ready_events: str = _table("written: events as features read them")
    ready_fakes: str = _table("written: events of orders held fake, where there are any")
    features: str = _table("written: features of every customer")
    training: str = _table("written: features at the training dates")
    labels: str = _table("written: what the outcomes were")
    predictions: str = _table("written: predictions")
    profiles: str = _table("written: profiles")

    @model_validator(mode="after")
    def _each_once(self) -> SparkTables:
        seen: dict[str, str] = {}
        for name in (*READ, *WRITTEN):
            place = getattr(self, name).rstrip("/")
            if place and place in seen:
                raise ValueError(f"{name} and {seen[place]} are both {place!r}; give each a table of its own")
            seen[place] = name
        return self


class SparkSettings(Section):
    master: str = Field(
        default="local[2]", description="where Spark runs: local[2], local-cluster[2,1,1024], spark://…, yarn, k8s://…"
    )
    catalog: str = Field(default="", description="catalog that table names without one belong to; empty: Spark's own")
    format: str = Field(
        default="parquet",
        description="of written catalog tables: parquet, orc, delta, iceberg, hive …; of written folders: parquet or delta",
    )
    partitions: int = Field(
        default=0,
        ge=0,
        description="partitions of a shuffle; 0: 8 on local masters, elsewhere Spark's own (small ones are merged)",
    )
    python: str = Field(
        default="",
        description="the Python that executors run; empty: the one that runs huaxiang (PYSPARK_PYTHON goes first)",
    )
    memory: str = Field(
        default="4g", description="memory of the driver where it runs here, and with master local[…] of all the work"
    )
    timeout_s: int = Field(default=120, ge=1, description="seconds to wait for the first executor")
    conf: dict[str, str] = Field(
        default_factory=dict, description='further Spark settings, such as {"spark.jars.packages" = "…"}'
    )
    tables: SparkTables = SparkTables()

    @property
    def is_local(self) -> bool:
        """Whether executors run on this machine."""
        return self.master.startswith("local")
