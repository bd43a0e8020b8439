"""Open HTTP connections the way the system's proxy settings want them."""

import base64
import urllib.request
from urllib.parse import unquote, urlsplit

import urllib3

from scripts.host.errors import TaskFailure


def pool(url: str, *, connect: float, silence: float) -> urllib3.PoolManager:
    """Return connections for *url*, through a proxy where one is set and the host is not excepted.

    Args:
        url: What shall be asked for; its scheme and host choose the proxy.
        connect: Longest time to connect, in seconds.
        silence: Longest time in which the server sends nothing, in seconds.

    Raises:
        TaskFailure: If the proxy setting cannot be used; the message keeps the proxy's password to itself.
    """
    timeout = urllib3.Timeout(connect=connect, read=silence)
    address, proxies = urlsplit(url), urllib.request.getproxies()
    setting = proxies.get(address.scheme) or proxies.get("all")
    if not setting or urllib.request.proxy_bypass(address.hostname or ""):
        return urllib3.PoolManager(timeout=timeout)
    try:
        # curl takes a proxy without a scheme as http, so people write it that way.
        proxy = urlsplit(setting if "://" in setting else f"http://{setting}")
        place = f"{proxy.scheme}://{proxy.netloc.rpartition('@')[2]}"
        return urllib3.ProxyManager(place, proxy_headers=_login(proxy.username, proxy.password), timeout=timeout)
    except (ValueError, AssertionError) as error:  # what urlsplit and urllib3 raise for addresses and schemes
        raise TaskFailure(
            f"The proxy that is set for {address.scheme} cannot be used; expected http(s)://HOST:PORT. "
            f"Correct the variable {address.scheme}_proxy, or except the host with no_proxy={address.hostname}."
        ) from error


def _login(user: str | None, password: str | None) -> dict[str, str]:
    if user is None:
        return {}
    login = f"{unquote(user)}:{unquote(password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
