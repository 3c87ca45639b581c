"""What the SDKs of others send, as batches of messages in Segment's shape.

message    Message, Batch: the one shape; which messages are no good, and why
segment    Segment and RudderStack: single calls and batches
posthog    PostHog
snowplow   Snowplow: POST and GET
sensors    神策
"""
