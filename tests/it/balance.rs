//! Connections are spread over the cores evenly, whichever core accepted them.

use crate::client::Client;
use crate::harness::{Engine, Server, on_every_driver, wait_until};

on_every_driver!(
    sixty_four_connections_on_four_cores,
    after_one_core_has_lost_its_connections,
    more_connections_than_registered_buffers,
);

fn per_core(observer: &mut Client, cores: usize) -> Vec<u64> {
    (0..cores).map(|core| observer.info_number(&format!("connected_clients_core{core}"))).collect()
}

fn sixty_four_connections_on_four_cores(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let mut clients: Vec<_> = (0..64).map(|_| server.client()).collect();
    clients.iter_mut().for_each(|client| client.check("PING", "+PONG\r\n"));
    let counts = per_core(&mut clients[0], 4);
    assert!(counts.iter().all(|count| (15..=17).contains(count)), "{counts:?}");
    assert_eq!(counts.iter().sum::<u64>(), 64);
}

fn after_one_core_has_lost_its_connections(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let mut observer = server.client();
    let mut clients: Vec<_> = (0..63).map(|_| server.client()).collect();
    let core_of = |client: &mut Client| {
        let text = client.call(&["CLIENT", "INFO"]).text();
        text.trim().rsplit_once("core=").unwrap().1.parse::<usize>().unwrap()
    };
    let emptied = core_of(&mut observer).wrapping_add(1) % 4;
    clients.retain_mut(|client| core_of(client) != emptied);
    wait_until("the core to be empty", || per_core(&mut observer, 4)[emptied] == 0);
    // Some fewer than the others have: when they were placed at the same moment, a core may have got 15 or 17.
    let mut new: Vec<_> = (0..12).map(|_| server.client()).collect();
    for client in &mut new {
        assert_eq!(core_of(client), emptied, "the emptiest core gets the next ones");
    }
}

/// One core has 1,024 buffers. All connections but the last are held open, each after it has been served once.
fn more_connections_than_registered_buffers(engine: Engine) {
    let server = Server::with(engine, &["--threads=1"]);
    let mut clients: Vec<_> = (0..1200).map(|_| server.client()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.check(&format!("SET k {n:04}"), "+OK\r\n");
    }
    let last = clients.last_mut().unwrap();
    assert_eq!(last.info_number("connected_clients"), 1200);
    last.check("GET k", "$4\r\n1199\r\n");
    let value = "v".repeat(100_000);
    last.call(&["SET", "large", &value]);
    assert_eq!(last.call(&["GET", "large"]).text(), value);
    // All of them at once.
    clients.iter_mut().for_each(|client| client.send("GET k\r\nSTRLEN large\r\n"));
    clients.iter_mut().for_each(|client| client.expect("$4\r\n1199\r\n:100000\r\n"));
    clients.truncate(1);
    wait_until("the others to be gone", || clients[0].info_number("connected_clients") == 1);
    clients[0].check("GET k", "$4\r\n1199\r\n");
}
