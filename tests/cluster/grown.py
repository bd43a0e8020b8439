"""Give an image in a registry a layer that no node has, so that it takes a real pull; as a program, in any network."""

import hashlib
import io
import json
import os
import sys
import tarfile
import urllib.request
import zlib
from collections.abc import Mapping
from typing import Any

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def main(repository: str, base: str, tag: str, megabytes: int) -> None:
    """Push *base* again as *tag* with a layer of *megabytes* of noise, and print the digest.

    Args:
        repository: The address of a repository in a registry that takes plain HTTP.
        base: A tag in it.
        tag: The new tag.
        megabytes: The size of the layer.
    """
    url = f"http://{repository.replace('/', '/v2/', 1)}"
    manifest = json.loads(_ask("GET", f"{url}/manifests/{base}", accept=MANIFEST)[0])
    config = json.loads(_ask("GET", f"{url}/blobs/{manifest['config']['digest']}")[0])
    layer = _layer(megabytes)
    # Noise does not get smaller, so that nothing is lost by not trying.
    packer = zlib.compressobj(level=0, wbits=31)
    packed = packer.compress(layer) + packer.flush()
    config["rootfs"]["diff_ids"].append(_digest(layer))
    config.setdefault("history", []).append({"created_by": "noise"})
    manifest["layers"].append({"mediaType": LAYER, **_put(url, packed)})
    manifest["config"] |= _put(url, json.dumps(config).encode())
    text = json.dumps(manifest).encode()
    _ask("PUT", f"{url}/manifests/{tag}", text, type_=manifest.get("mediaType", MANIFEST))
    sys.stdout.write(_digest(text))


def _layer(megabytes: int) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("noise")
        member.size = megabytes * 10**6
        archive.addfile(member, io.BytesIO(os.urandom(member.size)))
    return packed.getvalue()


def _put(url: str, content: bytes) -> dict[str, Any]:
    """Upload a blob, and return what a manifest says of it."""
    digest = _digest(content)
    _, told = _ask("POST", f"{url}/blobs/uploads/")
    where = told["Location"]
    _ask("PUT", f"{where}{'&' if '?' in where else '?'}digest={digest}", content, type_="application/octet-stream")
    return {"digest": digest, "size": len(content)}


def _ask(
    method: str, url: str, body: bytes | None = None, *, type_: str = "", accept: str = "*/*"
) -> tuple[bytes, Mapping[str, str]]:
    headers = {"Accept": accept, **({"Content-Type": type_} if type_ else {})}
    request = urllib.request.Request(url, body, headers, method=method)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=120) as answer:
        return answer.read(), answer.headers


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
