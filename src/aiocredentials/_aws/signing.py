"""The errors of AWS after which a call is signed again, with credentials that are loaded anew.

`gateway` makes such a call once more. `session` and `clients` drop the credentials that AWS
refused.
"""

from __future__ import annotations

import re

from botocore.exceptions import ClientError

SIGN_AGAIN = frozenset(
    {
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidToken",
        "RequestExpired",
        "RequestInTheFuture",
        "RequestTimeTooSkewed",
        "TokenRefreshRequired",
        "UnrecognizedClient",
    }
)
"""AWS's codes, without "Exception", for credentials or a signature that it no longer accepts.

With credentials that are loaded anew, and a new signature, the same call may succeed. Sources: the
common errors of Secrets Manager, STS and S3, and the AWS SDK for JavaScript, which corrects its
clock after the codes about time.
"""

# AWS also sends these codes for a wrong key, which no new signature corrects. The message tells the
# two apart.
_SIGNATURE_CODES = frozenset({"InvalidSignature", "SignatureDoesNotMatch"})
_SIGNATURE_OF_ANOTHER_TIME = re.compile(r"signature (expired|not yet current)", re.IGNORECASE)


def signs_again(error: BaseException) -> bool:
    """Return whether AWS calls the credentials or the signature too old, or doesn't know them."""
    if not isinstance(error, ClientError):
        return False
    answer = error.response.get("Error", {})
    code = str(answer.get("Code")).removesuffix("Exception")
    if code in _SIGNATURE_CODES:
        message = str(answer.get("Message"))
        return _SIGNATURE_OF_ANOTHER_TIME.search(message) is not None
    return code in SIGN_AGAIN
