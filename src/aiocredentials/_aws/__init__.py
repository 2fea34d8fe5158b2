"""The half of the package that uses botocore, aiohttp and AWS. It knows nothing of the cache.

From a call down to the socket:

* `gateway` calls Secrets Manager's API. `requests` has its questions, and `responses` reads the
  answers.
* `session` opens sessions and clients, and lends them to one call.
* `pooled` lends clients that are kept open: `loop_clients` has the clients of one event loop, and
  `clients` opens them, one per region, with the help of `shared_work`.
* `settings` has the caller's settings for all of this, and the line of code that made them.
* `regions` finds the region for a secret, and explains names that aren't regions.
* `aiosession` makes aiobotocore's sessions safe, `chain` their credential chain, `transport` their
  HTTP. `tls` makes the TLS contexts. `sockets` closes what a closed event loop has left open.
* `loading` imports aioboto3 once per process. `models` keeps the parts of botocore's files that are
  needed, `emitters` the event handlers.

Outside of the path of a call:

* `redact` keeps values out of botocore's log.
* `answered_errors` turns the errors that AWS answered into ours, and decides after which of them a
  call is signed again. `mapping` turns all others into ours; `findings`, `credential_findings` and
  `ambiguous_findings` have the sentences. `origins` finds the error behind an error.
  `decorator` is `map_client_errors`.
"""
