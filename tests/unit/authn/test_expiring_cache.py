"""The cache never gives a value after its end, and never grows beyond its bound."""

from proxy.authn.expiring_cache import ExpiringCache


def test_value_is_given_until_its_end_and_not_at_it() -> None:
    cache: ExpiringCache[str] = ExpiringCache(2)
    cache.put(b"a", "alice", 10.0)
    assert cache.get(b"a", 9.9) == "alice"
    assert cache.get(b"a", 10.0) is None
    assert len(cache) == 0


def test_a_full_cache_drops_what_was_not_used_for_longest() -> None:
    cache: ExpiringCache[str] = ExpiringCache(2)
    cache.put(b"a", "alice", 10.0)
    cache.put(b"b", "bob", 10.0)
    assert cache.get(b"a", 0) == "alice"
    cache.put(b"c", "carol", 10.0)
    assert (len(cache), cache.get(b"b", 0), cache.get(b"a", 0)) == (2, None, "alice")


def test_putting_again_replaces() -> None:
    cache: ExpiringCache[str] = ExpiringCache(2)
    cache.put(b"a", "alice", 10.0)
    cache.put(b"a", "anna", 20.0)
    assert (len(cache), cache.get(b"a", 15.0)) == (1, "anna")
