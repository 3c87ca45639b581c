"""The client of a shop that lives somewhere else: `huaxiang serve` over HTTP, from Python.

    from huaxiang.client import Client

    shop = Client("http://127.0.0.1:8888", key)
    shop.profile("17850")["sections"]["basic"]["lifecycle"]["value"]
    for row in shop.find("churn_30d > 0.6 and value_tier == 'gold'", fields=["churn_30d"]):
        ...

calls   Client: one method a route         wire   the connection        shapes   what comes back, typed
"""

from huaxiang.client.calls import Client
from huaxiang.client.wire import ClientError

__all__ = ["Client", "ClientError"]
