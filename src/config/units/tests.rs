use super::*;

#[test]
fn durations_carry_their_unit() {
    #[track_caller]
    fn check(text: &str, nanoseconds: u64) {
        assert_eq!(duration(text), Ok(Duration::from_nanos(nanoseconds)));
    }
    check("200ms", 200_000_000);
    check("1.5s", 1_500_000_000);
    check("0.25ms", 250_000);
    check("5m", 300_000_000_000);
    check("1h", 3_600_000_000_000);
    check("8760h", 8760 * 3_600_000_000_000);
    check("1.000000001s", 1_000_000_001);
    check("0.1234567891s", 123_456_789);
    #[track_caller]
    fn refused(text: &str, help: &str) {
        assert_eq!(duration(text), Err(Some(help.to_owned())), "{text}");
    }
    refused("200", "write `200ms`");
    refused("2", "write `2s`");
    refused("1.5", "write `1.5s`");
    refused("200 ms", "write `200ms`");
    refused("5min", "write `5m`");
    refused("10sec", "write `10s`");
    refused("1S", "write `1s`");
    refused("1d", "write it in hours: `24h` is a day");
    refused("50us", "the smallest unit is `ms`: write `0.5ms`");
    refused("0s", "a duration is above zero");
    refused("0.0000000001s", "a duration is above zero");
    refused("8761h", "the longest duration is `8760h`");
    refused("99999999999999999h", "the longest duration is `8760h`");
    refused("1x", "the units are `ms`, `s`, `m` and `h`");
    for text in [
        "", "-5ms", ".5s", "1.s", "1e3ms", "ms", "1h30m", "soon", "007s",
    ] {
        assert!(duration(text).is_err(), "{text}");
    }
    assert!(duration("99999999999999999999999999h").is_err());
}

#[test]
fn sizes_carry_their_unit() {
    let check = |text: &str, bytes: u64| assert_eq!(size(text).map(|s| s.0), Ok(bytes));
    check("1B", 1);
    check("64KiB", 65_536);
    check("1.5MiB", 1_572_864);
    check("2GiB", 2 << 30);
    #[track_caller]
    fn refused(text: &str, help: &str) {
        assert_eq!(size(text).err().flatten().as_deref(), Some(help), "{text}");
    }
    refused("65536", "write `64KiB`");
    refused("1048576", "write `1MiB`");
    refused("1000", "write `1000B`, `1000KiB` or `1000MiB`");
    refused("64", "write `64B`, `64KiB` or `64MiB`");
    refused("1500", "write `1500B`");
    refused("64KB", "write `64KiB`");
    refused("64k", "write `64KiB`");
    refused("1 MiB", "write `1MiB`");
    refused("0B", "a size is above zero");
    refused("1TiB", "the units are `B`, `KiB`, `MiB` and `GiB`");
    refused("2048GiB", "the largest size is `1024GiB`");
    refused("big", "write a number and its unit: `64KiB`, `1MiB`");
}

#[test]
fn shares_and_ranges() {
    assert_eq!(percentage("100%"), Ok(Percentage(10_000)));
    assert_eq!(percentage("0%"), Ok(Percentage(0)));
    assert_eq!(percentage("12.5%"), Ok(Percentage(1_250)));
    assert_eq!(percentage("0.5"), Err(Some("write `50%`".into())));
    assert_eq!(percentage("50"), Err(Some("write `50%`".into())));
    assert!(percentage("101%").is_err());
    assert!(percentage("-1%").is_err());
    let range = duration_range("25ms..1s").unwrap();
    assert_eq!(range.from, Duration::from_millis(25));
    assert_eq!(range.to, Duration::from_secs(1));
    assert_eq!(
        duration_range("1s..25ms"),
        Err(Some("write `25ms..1s`".into()))
    );
    assert!(duration_range("25ms").is_err());
    assert!(duration_range("25..250").is_err());
    assert!(duration_range("..").is_err());
}

#[test]
fn a_hedge_waits_for_a_time_or_a_percentile() {
    assert_eq!(after("90ms"), Ok(After::Fixed(Duration::from_millis(90))));
    assert_eq!(after("p95"), Ok(After::Percentile(9500)));
    assert_eq!(after("p50"), Ok(After::Percentile(5000)));
    assert_eq!(after("p99.9"), Ok(After::Percentile(9990)));
    assert_eq!(after("p99.99"), Ok(After::Percentile(9999)));
    assert_eq!(after("p0.01"), Ok(After::Percentile(1)));
    for text in ["p0", "p100", "p99.999", "p", "p-1", "p1e1", "p 95", "pp95"] {
        let help = after(text).err().flatten().unwrap();
        assert!(help.contains("above 0 and below 100"), "{text}: {help}");
    }
    assert_eq!(after("P95"), Err(Some("write `p95`".into())));
    assert_eq!(after("99.9%"), Err(Some("write `p99.9`".into())));
    let help = "write `90ms`; or a percentile: `p95`";
    assert_eq!(after("90"), Err(Some(help.into())));
}

#[test]
fn memory_is_a_share_or_a_size() {
    assert_eq!(memory("25%"), Ok(Memory::Share(Percentage(2500))));
    assert_eq!(memory("512MiB"), Ok(Memory::Size(512 << 20)));
    let help = |text: &str| memory(text).err().flatten().unwrap();
    assert_eq!(help("0%"), "a share is above zero: write `25%`");
    assert_eq!(
        help("25"),
        "write `25B`, `25KiB` or `25MiB`, or a share such as `25%`"
    );
    assert_eq!(help("512MB"), "write `512MiB`");
}

#[test]
fn urls_of_services() {
    #[track_caller]
    fn check(text: &str, expected: Option<(bool, &str, u16, &str)>) {
        let found = url(text).ok();
        let found = found
            .as_ref()
            .map(|u| (u.tls, u.host.as_str(), u.port, u.path.as_str()));
        assert_eq!(found, expected, "{text}");
    }
    check("http://a:81/b/", Some((false, "a", 81, "/b")));
    check("https://A.example", Some((true, "a.example", 443, "")));
    check("http://[::1]:80", Some((false, "[::1]", 80, "")));
    check("http://[::1]", Some((false, "[::1]", 80, "")));
    check("http://a/%2Fx", Some((false, "a", 80, "/%2Fx")));
    for text in [
        "a:80",
        "ftp://a",
        "http://",
        "http://u:p@a",
        "http://a?b",
        "http://a#b",
        "http://a/ b",
        "http://a:0",
        "http://a:x",
        "http://a:99999",
        "http://a/../b",
        "http://a/%2",
        "http:///x",
        "http://a b",
        "http://:80",
    ] {
        check(text, None);
    }
}

#[test]
fn addresses() {
    assert!(address("127.0.0.1:80").is_ok() && address("[::1]:80").is_ok());
    let help = |text: &str| address(text).err().flatten().unwrap();
    assert!(help(":8080").contains("0.0.0.0:8080"));
    assert!(help("localhost:80").contains("127.0.0.1:80"));
    assert!(help("8080").contains("127.0.0.1:8080"));
    assert!(network("10.0.0.0/8").is_ok() && network("::1").is_ok());
    assert!(network("10.0.0.0/99").is_err());
    assert_eq!(host("Shop.Example.com:80").unwrap().0, "shop.example.com");
    assert!(host("a/b").is_err() && host("*.a").is_err() && host("").is_err());
}
