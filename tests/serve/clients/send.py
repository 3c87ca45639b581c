"""One real client sends a small journey: who (with an e-mail), a product viewed, an order of two lines.

usage: send.py CLIENT WRITE_KEY HOST
"""

import sys

CLIENT, KEY, HOST = sys.argv[1:]
ORDER = {
    "order_id": "o-1",
    "total": 25.0,
    "products": [
        {"product_id": "p-1", "price": 10.0, "quantity": 2},
        {"product_id": "p-2", "price": 5.0, "quantity": 1},
    ],
}
VIEW = {"product_id": "p-1", "price": 10.0}
TRAITS = {"email": "ann@example.com", "city": "杭州"}


def segment() -> None:
    import segment.analytics as client

    client.write_key, client.host = KEY, HOST
    client.identify("ann", TRAITS)
    client.track("ann", "Product Viewed", VIEW)
    client.track("ann", "Order Completed", ORDER)
    client.shutdown()


def rudder() -> None:
    import rudderstack.analytics as client

    client.write_key, client.dataPlaneUrl = KEY, HOST
    client.identify("ann", TRAITS)
    client.track("ann", "Product Viewed", VIEW)
    client.track("ann", "Order Completed", ORDER)
    client.shutdown()


def posthog() -> None:
    from posthog import Posthog

    client = Posthog(KEY, host=HOST, gzip=True)
    client.set(distinct_id="ann", properties=TRAITS)
    client.capture("Product Viewed", distinct_id="ann", properties=VIEW)
    client.capture("Order Completed", distinct_id="ann", properties=ORDER)
    client.shutdown()


def snowplow() -> None:
    from snowplow_tracker import Emitter, SelfDescribing, SelfDescribingJson, Subject, Tracker

    host, port = HOST.removeprefix("http://").split(":")
    for method in ("post", "get"):
        emitter = Emitter(host, protocol="http", port=int(port), method=method, batch_size=1)
        tracker = Tracker(
            "test", [emitter], app_id=KEY, subject=Subject().set_user_id("ann"), encode_base64=method == "post"
        )
        said = ("Product Viewed", VIEW) if method == "post" else ("Order Completed", ORDER)
        tracker.track(SelfDescribing(SelfDescribingJson(f"iglu:com.shop/{said[0]}/jsonschema/1-0-0", said[1])))
        tracker.flush()


def sensors() -> None:
    import sensorsanalytics

    consumer = sensorsanalytics.BatchConsumer(f"{HOST}/sa?project={KEY}")
    client = sensorsanalytics.SensorsAnalytics(consumer)
    client.profile_set("ann", TRAITS, is_login_id=True)
    client.track("ann", "commodityDetail", {"commodity_id": "p-1", "price": 10.0}, is_login_id=True)
    for line in ORDER["products"]:
        client.track("ann", "PayOrderDetail", {"order_id": "o-1", **line}, is_login_id=True)
    client.flush()
    client.close()


{"segment": segment, "rudder": rudder, "posthog": posthog, "snowplow": snowplow, "sensors": sensors}[CLIENT]()
