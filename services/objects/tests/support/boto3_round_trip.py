"""A round trip through boto3, with its defaults and with each signature version. Arguments: endpoint."""

import sys
import urllib.request

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

endpoint = sys.argv[1]


def client(**options):
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=Config(**options))


def fetch(url, method="GET", body=None):
    request = urllib.request.Request(url, data=body, method=method)
    with urllib.request.urlopen(request) as answer:
        return answer.read()


def expect(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
    else:
        raise AssertionError(f"{code} was expected")


small = b"a small body"
large = bytes(range(256)) * (20 << 12)  # 20 MiB

for name, options in {
    "defaults": {},
    "v4": {"signature_version": "s3v4"},
    "v2": {"signature_version": "s3"},
}.items():
    s3 = client(**options)
    bucket = f"boto-{name}"
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="a b+c/é", Body=small, ContentType="text/plain", Metadata={"who": "denis"})
    got = s3.get_object(Bucket=bucket, Key="a b+c/é")
    assert got["Body"].read() == small and got["Metadata"] == {"who": "denis"} and got["ContentType"] == "text/plain"
    with open("large", "wb") as file:
        file.write(large)
    s3.upload_file("large", bucket, "large", Config=TransferConfig(multipart_threshold=8 << 20, multipart_chunksize=8 << 20))
    head = s3.head_object(Bucket=bucket, Key="large")
    assert head["ETag"].endswith('-3"') and head["ContentLength"] == len(large), head
    s3.download_file(bucket, "large", "back")
    with open("back", "rb") as file:
        assert file.read() == large
    part = s3.get_object(Bucket=bucket, Key="large", Range="bytes=8388600-8388615")
    assert part["Body"].read() == large[8388600:8388616]
    for version in (1, 2):
        lister = s3.list_objects if version == 1 else s3.list_objects_v2
        page = lister(Bucket=bucket, Delimiter="/")
        assert [entry["Key"] for entry in page["Contents"]] == ["large"], page
        assert [entry["Prefix"] for entry in page["CommonPrefixes"]] == ["a b+c/"], page
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 1})
    assert [entry["Key"] for page in pages for entry in page["Contents"]] == ["a b+c/é", "large"]
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b+c/é"}, ExpiresIn=60)
    is_v4 = "X-Amz-Signature" in url
    assert is_v4 == (name == "v4"), f"boto3 presigns with V2 on an endpoint of one's own: {url}"
    assert fetch(url) == small
    url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "presigned"}, ExpiresIn=60)
    if not is_v4:
        # V2 signs the content type, and urllib would invent one.
        url = s3.generate_presigned_url(
            "put_object",
            Params={"Bucket": bucket, "Key": "presigned", "ContentType": "application/x-www-form-urlencoded"},
            ExpiresIn=60,
        )
    fetch(url, "PUT", b"by url")
    assert s3.get_object(Bucket=bucket, Key="presigned")["Body"].read() == b"by url"
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "large"})
    s3.copy({"Bucket": bucket, "Key": "large"}, bucket, "parts", Config=TransferConfig(multipart_threshold=8 << 20))
    assert s3.get_object(Bucket=bucket, Key="parts")["Body"].read() == large
    expect("NoSuchKey", s3.get_object, Bucket=bucket, Key="none")
    expect("404", s3.head_object, Bucket=bucket, Key="none")
    expect("NoSuchCORSConfiguration", s3.get_bucket_cors, Bucket=bucket)
    rule = {"AllowedOrigins": ["*"], "AllowedMethods": ["GET", "PUT"], "AllowedHeaders": ["*"], "ExposeHeaders": ["ETag"]}
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == [rule]
    s3.delete_bucket_cors(Bucket=bucket)
    if name != "v2":
        for algorithm in ("CRC32", "SHA1", "SHA256"):
            s3.put_object(Bucket=bucket, Key="checked", Body=small, ChecksumAlgorithm=algorithm)
            got = s3.get_object(Bucket=bucket, Key="checked", ChecksumMode="ENABLED")
            assert got["Body"].read() == small and got[f"Checksum{algorithm}"]
    expect("BucketNotEmpty", s3.delete_bucket, Bucket=bucket)
    keys = [{"Key": entry["Key"]} for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    deleted = s3.delete_objects(Bucket=bucket, Delete={"Objects": keys})
    assert len(deleted["Deleted"]) == len(keys) and "Errors" not in deleted, deleted
    s3.delete_bucket(Bucket=bucket)
    expect("NoSuchBucket", s3.list_objects_v2, Bucket=bucket)

print("boto3", boto3.__version__)
