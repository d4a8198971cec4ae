use std::io;
use std::net::SocketAddr;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::demo::{Demo, Error, Ports, banner, listen, start};

/// One request on a connection of its own; everything that came until it was closed.
async fn ask(address: SocketAddr, line: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn address(demo: &Demo, name: &str) -> SocketAddr {
    let mut all = demo.instances.iter();
    let instance = all.find(|instance| instance.service().name == name);
    SocketAddr::from(([127, 0, 0, 1], instance.unwrap().port()))
}

async fn turn(demo: &Demo, switch: &str) {
    let answer = ask(demo.control(), &format!("POST /{switch}")).await;
    let answer = answer.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{switch}: {answer}");
}

#[tokio::test]
async fn a_service_that_is_down_refuses_and_cuts_and_comes_back_on_its_port() {
    let demo = start(Ports::Free).await.unwrap();
    let pricing = address(&demo, "pricing");
    let mut idle = TcpStream::connect(pricing).await.unwrap();
    assert!(
        ask(pricing, "GET /prices/42")
            .await
            .unwrap()
            .contains("12.10")
    );

    turn(&demo, "pricing/down").await;
    let refused = ask(pricing, "GET /prices/42").await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    // The idle connection is over: its end, or a reset.
    assert_eq!(idle.read(&mut [0; 8]).await.unwrap_or(0), 0);
    turn(&demo, "pricing/down").await;

    turn(&demo, "pricing/up").await;
    assert!(
        ask(pricing, "GET /prices/42")
            .await
            .unwrap()
            .contains("12.10")
    );
}

#[tokio::test]
async fn a_broken_service_fails_in_three_ways_by_turns() {
    let demo = start(Ports::Free).await.unwrap();
    let pricing = address(&demo, "pricing");
    turn(&demo, "pricing/broken").await;
    for _ in 0..2 {
        let failed = ask(pricing, "GET /prices/42").await.unwrap();
        assert!(failed.starts_with("HTTP/1.1 500"), "{failed}");
        let cut = ask(pricing, "GET /prices/42").await.unwrap();
        assert!(cut.starts_with("HTTP/1.1 200"), "{cut}");
        assert!(cut.contains("content-length: 116"), "{cut}");
        assert!(cut.ends_with("{\"half\": \"an ans"), "{cut}");
        let page = ask(pricing, "GET /prices/42").await.unwrap();
        assert!(page.contains("content-type: text/html"), "{page}");
    }
}

#[tokio::test]
async fn the_switchboard_lists_states_and_requests() {
    let demo = start(Ports::Free).await.unwrap();
    ask(address(&demo, "cart"), "GET /carts/c-1").await.unwrap();
    turn(&demo, "inventory/slow").await;
    turn(&demo, "loyalty/down").await;
    let list = ask(demo.control(), "GET /").await.unwrap();
    let port = |name| address(&demo, name).port();
    let row = |name, state, hits| {
        let port = port(name);
        format!(r#"{{"name":"{name}","port":{port},"state":"{state}","hits":{hits}}}"#)
    };
    for expected in [
        row("cart", "up", 1),
        row("inventory", "slow", 0),
        row("loyalty", "down", 0),
    ] {
        assert!(list.contains(&expected), "{expected} in {list}");
    }
}

#[tokio::test]
async fn only_a_post_that_names_both_switches() {
    let demo = start(Ports::Free).await.unwrap();
    for (line, status) in [
        ("GET /pricing/down", "405"),
        ("POST /pricing/off", "404"),
        ("POST /prices/down", "404"),
        ("POST /pricing", "404"),
    ] {
        let answer = ask(demo.control(), line).await.unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{line}: {answer}"
        );
    }
    ask(address(&demo, "pricing"), "GET /prices/42")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_port_that_cannot_be_opened_again_is_said() {
    let demo = start(Ports::Free).await.unwrap();
    turn(&demo, "cart/down").await;
    let _other = TcpListener::bind(address(&demo, "cart")).await.unwrap();
    let answer = ask(demo.control(), "POST /cart/up").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 409"), "{answer}");
    let list = ask(demo.control(), "GET /").await.unwrap();
    assert!(
        list.contains(r#""name":"cart""#) && list.contains(r#""state":"down""#),
        "{list}"
    );
}

#[tokio::test]
async fn a_taken_port_is_named_with_what_to_do() {
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = other.local_addr().unwrap().port();
    let error = listen("pricing", port).await.unwrap_err();
    assert!(matches!(
        error,
        Error::PortTaken {
            name: "pricing",
            ..
        }
    ));
    assert_eq!(
        error.to_string(),
        format!(
            "port {port} (pricing) is taken: stop what listens there (`ss -ltnp 'sport = :{port}'` names it), \
             then start again"
        )
    );
}

#[tokio::test]
async fn a_dropped_demo_leaves_its_ports() {
    let demo = start(Ports::Free).await.unwrap();
    let mut idle = TcpStream::connect(address(&demo, "orders")).await.unwrap();
    drop(demo);
    assert_eq!(idle.read(&mut [0; 8]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn the_services_and_the_banner_name_the_ports_in_use() {
    let demo = start(Ports::Free).await.unwrap();
    let yaml = demo.services_yaml();
    assert_eq!(yaml.lines().count(), 13);
    let backup = address(&demo, "payments-backup");
    assert!(
        yaml.contains(&format!("  payments-backup: {{ url: http://{backup} }}\n")),
        "{yaml}"
    );

    let listen = SocketAddr::from(([127, 0, 0, 1], 8080));
    let text = banner::banner(&demo, listen, Path::new("routes"));
    assert!(
        text.contains(&format!("{}/pricing/broken", demo.control())),
        "{text}"
    );
    assert!(
        text.contains("routes/product-page.yaml while this runs"),
        "{text}"
    );
    assert!(
        text.contains(r#"-d '{"cart_id":"c-1","payment_token":"tok_visa"}'"#),
        "{text}"
    );
}
