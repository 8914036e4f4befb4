"""Objects whose names have all that a proxy could spoil, through the botocore that Debian's awscli brings along.

Arguments: endpoint, and `round-trip` or `presign`.
"""

import sys

import awscli.botocore.session
from awscli.botocore.config import Config

ENDPOINT, TASK = sys.argv[1:3]
BUCKET = "odd-keys"
KEYS = [
    "with spaces  two",
    "plus+and%20written",
    "%2F%2f",
    "a//b///c/",
    "dots/../and/./more",
    "é ü/日本 🛥",
    "~!*'();:@&=$,?#[]",
    "%",
    "a%00b%zz",
    "=a&b=c",
]
MIB = 1 << 20


def client(style):
    config = Config(signature_version="s3v4", s3={"addressing_style": style})
    session = awscli.botocore.session.get_session()
    return session.create_client("s3", endpoint_url=ENDPOINT, region_name="us-east-1", config=config)


def round_trip(s3, key):
    body = key.encode() + bytes(1000)
    s3.put_object(Bucket=BUCKET, Key=key, Body=body, Metadata={"odd": "two  spaces, a+b"})
    answer = s3.get_object(Bucket=BUCKET, Key=key)
    assert answer["Body"].read() == body, key
    assert answer["Metadata"] == {"odd": "two  spaces, a+b"}, answer["Metadata"]
    part = s3.get_object(Bucket=BUCKET, Key=key, Range="bytes=2-9")
    assert (part["Body"].read(), part["ResponseMetadata"]["HTTPStatusCode"]) == (body[2:10], 206), key
    assert s3.head_object(Bucket=BUCKET, Key=key)["ContentLength"] == len(body), key
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix=key)["Contents"]
    assert [found["Key"] for found in listed] == [key], listed

    # In parts, whose numbers and upload are in the query.
    parts = [b"\x01" * (5 * MIB), b"\x02" * MIB]
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    tags = []
    for number, part in enumerate(parts, 1):
        answer = s3.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=number, Body=part)
        tags.append({"PartNumber": number, "ETag": answer["ETag"]})
    s3.complete_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload, MultipartUpload={"Parts": tags})
    assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"".join(parts), key
    s3.delete_object(Bucket=BUCKET, Key=key)
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET, Prefix=key), key


for style in ["path", "virtual"]:
    s3 = client(style)
    if not [bucket for bucket in s3.list_buckets()["Buckets"] if bucket["Name"] == BUCKET]:
        s3.create_bucket(Bucket=BUCKET)
    for key in KEYS:
        if TASK == "round-trip":
            round_trip(s3, key)
        else:
            names = {"Bucket": BUCKET, "Key": key}
            print(s3.generate_presigned_url("put_object", names), s3.generate_presigned_url("get_object", names))
if TASK == "round-trip":
    print("all is well")
