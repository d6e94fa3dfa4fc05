//! CLIENT as operators use it: lists, ends, pauses, and which replies a connection wants.

use crate::client::{Client, request};
use crate::harness::{Engine, Server, on_every_driver, temporary, wait_until};
use crate::wire::Value;

on_every_driver!(
    list_fields,
    the_list_tells_what_waits,
    kill_by_address,
    kill_by_filter,
    list_by_filter,
    kill_oneself,
    pause_writes,
    pause_everything_for_a_time,
    a_pause_ends_with_the_server,
    paused_requests_arrive_whole,
    replies_off_and_on,
    a_reply_is_skipped,
    no_touch_keeps_the_order_of_use,
    odd_forms,
);

fn id(client: &mut Client) -> String {
    client.call(&["CLIENT", "ID"]).integer().to_string()
}

fn address(client: &Client) -> String {
    client.stream().local_addr().unwrap().to_string()
}

fn list_fields(engine: Engine) {
    let path = temporary("clients");
    let server = Server::with(engine, &[&format!("--unixsocket={}", path.display())]);
    let mut client = server.client();
    client.check("CLIENT NO-EVICT on", "+OK\r\n");
    client.check("CLIENT NO-TOUCH on", "+OK\r\n");
    let line = client.call(&["CLIENT", "INFO"]).text();
    let names: Vec<&str> = line.split(' ').map(|field| field.split('=').next().unwrap()).collect();
    let redis = "id addr laddr fd name age idle flags db sub psub ssub multi watch qbuf qbuf-free argv-mem multi-mem rbs rbp \
                 obl oll omem tot-mem events cmd user redir resp lib-name lib-ver";
    assert_eq!(names[..31], redis.split_whitespace().collect::<Vec<_>>());
    assert!(line.contains(" flags=eT ") && line.contains(" cmd=client|info ") && line.ends_with('\n'), "{line}");
    client.check("WATCH a b", "+OK\r\n");
    client.check("MULTI", "+OK\r\n");
    client.check("PING", "+QUEUED\r\n");
    let line = server.client().call(&["CLIENT", "LIST"]).text();
    let line = line.lines().next().unwrap();
    assert!(line.contains(" multi=1 watch=2 ") && line.contains(" flags=xeT "), "{line}");
    let number =
        |name: &str| line.split(' ').find_map(|field| field.strip_prefix(name)).unwrap().parse::<u64>().unwrap();
    // CLIENT, CLIENT, CLIENT, WATCH, MULTI, PING: their bytes, and those of the replies.
    assert_eq!(number("tot-cmds="), 6, "{line}");
    assert!(number("tot-net-in=") > 100 && number("tot-net-out=") > 300 && number("multi-mem=") > 0, "{line}");
    client.check("EXEC", "*1\r\n+PONG\r\n");
    assert!(client.call(&["CLIENT", "INFO"]).text().contains(" multi=-1 watch=0 "));
    let mut unix = Client::new(std::os::unix::net::UnixStream::connect(&path).unwrap());
    let line = unix.call(&["CLIENT", "INFO"]).text();
    assert!(line.contains(&format!(" addr={}:0 ", path.display())) && line.contains(" flags=U "), "{line}");
}

fn the_list_tells_what_waits(engine: Engine) {
    let server = Server::start(engine);
    let (mut observer, mut client) = (server.client(), server.client());
    let id = id(&mut client);
    let mut field = |name: &str| {
        let line = observer.call(&["CLIENT", "LIST", "ID", &id]).text();
        let value = line.split(' ').find_map(|field| field.strip_prefix(name)).unwrap();
        value.parse::<usize>().unwrap()
    };
    // A reply arrives before it is told that it has left.
    wait_until("nothing waits", || (field("qbuf="), field("obl=")) == (0, 0));
    client.send("*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n$300000\r\n01234");
    wait_until("the half of a request", || field("qbuf=") > 0);
    client.send(format!("{}\r\n", "x".repeat(300_000 - 5)));
    client.expect("+OK\r\n");
    wait_until("nothing waits again", || field("qbuf=") == 0);
    // More than the sockets take.
    client.send("GET large\r\n".repeat(100));
    wait_until("replies that are not read", || field("obl=") > 0);
}

fn kill_by_address(engine: Engine) {
    let server = Server::start(engine);
    let (mut client, mut victim) = (server.client(), server.client());
    victim.check("PING", "+PONG\r\n");
    client.check("CLIENT KILL 127.0.0.1:1", "-ERR No such client\r\n");
    client.check(&format!("CLIENT KILL {}", address(&victim)), "+OK\r\n");
    victim.expect_closed();
    client.check("PING", "+PONG\r\n");
}

fn kill_by_filter(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let mut client = server.client();
    let mut others: Vec<Client> = (0..8).map(|_| server.client()).collect();
    let ids: Vec<String> = others.iter_mut().map(id).collect();
    client.check(&format!("CLIENT KILL ID {}", ids[0]), ":1\r\n");
    client.check(&format!("CLIENT LIST ID {}", ids[0]), "$0\r\n\r\n");
    others.remove(0).expect_closed();
    client.check(&format!("CLIENT KILL ID {}", ids[0]), ":0\r\n");
    let laddr = server.address().to_string();
    client.check(&format!("CLIENT KILL ADDR {} LADDR {laddr} ID {}", address(&others[0]), ids[1]), ":1\r\n");
    others.remove(0).expect_closed();
    client.check(&format!("CLIENT KILL ADDR {} ID {}", address(&others[0]), ids[3]), ":0\r\n");
    client.check("CLIENT KILL TYPE pubsub", ":0\r\n");
    client.check("CLIENT KILL MAXAGE 1000", ":0\r\n");
    client.check("CLIENT KILL TYPE normal USER default SKIPME yes", ":6\r\n");
    others.iter_mut().for_each(Client::expect_closed);
    client.check_error("CLIENT KILL USER nobody", "ERR No such user 'nobody'");
    client.check_error("CLIENT KILL TYPE what", "ERR Unknown client type 'what'");
    client.check_error("CLIENT KILL ID 0", "ERR client-id should be greater than 0");
    client.check("CLIENT KILL SKIPME maybe", "-ERR syntax error\r\n");
    client.check("CLIENT KILL WHAT 1", "-ERR syntax error\r\n");
    client.check("CLIENT KILL ID 1 ADDR", "-ERR syntax error\r\n");
    client.check_error("CLIENT KILL ID 0 ADDR", "ERR client-id should be greater than 0");
}

/// Whoever kills itself is told, then closed; nothing behind runs.
fn kill_oneself(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let own = id(&mut client);
    client.send([request(&["CLIENT", "KILL", "ID", &own, "SKIPME", "no"]), request(&["SET", "k", "v"])].concat());
    client.expect(":1\r\n");
    client.expect_closed();
    server.client().check("GET k", "$-1\r\n");
}

fn pause_writes(engine: Engine) {
    let server = Server::start(engine);
    let (mut client, mut writer, mut reader) = (server.client(), server.client(), server.client());
    client.check("CLIENT PAUSE 1000000 WRITE", "+OK\r\n");
    writer.send("GET k\r\nSET k v\r\nGET k\r\n");
    writer.expect("$-1\r\n");
    server.wait_for_info("blocked_clients", |blocked| blocked == 1);
    reader.check("GET k", "$-1\r\n");
    // What is refused does not wait.
    reader.check_error("SET k", "ERR wrong number of arguments for 'set' command");
    // A transaction waits if something in it writes, a script if it does not say that it never writes.
    reader.send("MULTI\r\nGET k\r\nEXEC\r\n");
    reader.expect("+OK\r\n+QUEUED\r\n*1\r\n$-1\r\n");
    let reads = "#!lua flags=no-writes\nreturn redis.call('GET', KEYS[1])";
    reader.send(request(&["EVAL", reads, "1", "k"]));
    reader.expect("$-1\r\n");
    let sha = client.call(&["SCRIPT", "LOAD", reads]).text();
    reader.check(&format!("EVALSHA {sha} 1 k"), "$-1\r\n");
    reader.send([request(&["MULTI"]), request(&["EVAL", reads, "1", "k"]), request(&["EXEC"])].concat());
    reader.expect("+OK\r\n+QUEUED\r\n*1\r\n$-1\r\n");
    // A shorter and milder pause changes nothing.
    client.check("CLIENT PAUSE 1 WRITE", "+OK\r\n");
    assert!(client.call(&["CLIENT", "LIST"]).text().contains(" flags=b "));
    reader.send(request(&["EVAL", "return 1", "0"]));
    server.wait_for_info("blocked_clients", |blocked| blocked == 2);
    client.check("CLIENT UNPAUSE", "+OK\r\n");
    writer.expect("+OK\r\n$1\r\nv\r\n");
    reader.expect(":1\r\n");
    reader.check("GET k", "$1\r\nv\r\n");
    server.wait_for_info("blocked_clients", |blocked| blocked == 0);
}

fn pause_everything_for_a_time(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let mut clients: Vec<Client> = (0..8).map(|_| server.client()).collect();
    clients[0].check("CLIENT PAUSE 200", "+OK\r\n");
    clients.iter_mut().for_each(|client| client.send("PING\r\nSET k v\r\n"));
    clients.iter_mut().for_each(|client| client.expect("+PONG\r\n+OK\r\n"));
}

fn a_pause_ends_with_the_server(engine: Engine) {
    let mut server = Server::start(engine);
    let mut client = server.client();
    client.check("CLIENT PAUSE 1000000 WRITE", "+OK\r\n");
    client.send("SET k v\r\n");
    server.wait_for_info("blocked_clients", |blocked| blocked == 1);
    server.signal(nix::sys::signal::Signal::SIGTERM);
    client.expect("+OK\r\n");
    client.expect_closed();
    assert!(server.wait().success());
}

/// Whatever a request has come as, it is whole after the pause.
fn paused_requests_arrive_whole(engine: Engine) {
    let server = Server::start(engine);
    let (mut client, mut writer) = (server.client(), server.client());
    client.check("CLIENT PAUSE 1000000 WRITE", "+OK\r\n");
    let value = crate::client::patterned(200_000, 1);
    let large = request(&[b"SET".as_slice(), b"large", &value]);
    writer.send(&large[..100_000]);
    writer.send(&large[100_000..]);
    server.wait_for_info("blocked_clients", |blocked| blocked == 1);
    writer.send(request(&["SET", "small", "s"]));
    writer.send(request(&["MGET", "large", "small"]));
    client.check("CLIENT UNPAUSE", "+OK\r\n");
    writer.expect("+OK\r\n+OK\r\n");
    assert_eq!(writer.value(), Value::Array(vec![Value::Bulk(value), Value::bulk("s")]));
}

fn replies_off_and_on(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.send("PING\r\nCLIENT REPLY OFF\r\nPING\r\nSET k v\r\nGET k\r\nNOPE\r\nCLIENT REPLY SKIP\r\nCLIENT REPLY ON\r\nGET k\r\n");
    client.expect("+PONG\r\n+OK\r\n$1\r\nv\r\n");
    // Large values that are sent from where they lie are left out, too.
    let value = "v".repeat(100_000);
    client.call(&["SET", "large", &value]);
    client.send("CLIENT REPLY OFF\r\nGET large\r\nMGET k large k large\r\nCLIENT REPLY ON\r\nGET k\r\n");
    client.expect("+OK\r\n$1\r\nv\r\n");
    client.send("CLIENT REPLY OFF\r\nRESET\r\nPING\r\n");
    client.expect("+RESET\r\n+PONG\r\n");
    client.check("CLIENT REPLY WHAT", "-ERR syntax error\r\n");
}

fn a_reply_is_skipped(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.send("CLIENT REPLY SKIP\r\nSET k v\r\nGET k\r\nCLIENT REPLY SKIP\r\nNOPE\r\nPING\r\n");
    client.expect("$1\r\nv\r\n+PONG\r\n");
    client.send("CLIENT REPLY SKIP\r\n");
    client.send("PING\r\n");
    client.send("PING again\r\n");
    client.expect("$5\r\nagain\r\n");
}

/// What is read by such a client is evicted as if nobody had read it.
fn no_touch_keeps_the_order_of_use(engine: Engine) {
    let server = Server::with(engine, &["--threads=1", "--maxmemory=32mb", "--maxmemory-policy=allkeys-lru"]);
    let (mut client, mut reader) = (server.client(), server.client());
    client.check("SET read v", "+OK\r\n");
    client.check("SET touched v", "+OK\r\n");
    reader.check("CLIENT NO-TOUCH ON", "+OK\r\n");
    let value = "v".repeat(4000);
    let mut number = 0;
    wait_until("the first eviction", || {
        reader.check("GET read", "$1\r\nv\r\n");
        client.check("TOUCH touched", ":1\r\n");
        for _ in 0..50 {
            number += 1;
            client.call(&["SET", &format!("filler:{number}"), &value]);
        }
        client.info_number("evicted_keys") > 0
    });
    client.check("GET read", "$-1\r\n");
    client.check("GET touched", "$1\r\nv\r\n");
}

fn odd_forms(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("CLIENT UNBLOCK 1", ":0\r\n");
    client.check("CLIENT UNBLOCK 1 ERROR", ":0\r\n");
    client.check_error("CLIENT UNBLOCK x WHAT", "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    client.check_error("CLIENT UNBLOCK x", "ERR value is not an integer or out of range");
    client.check_error("CLIENT UNBLOCK 1 WHAT", "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    client.check_error("CLIENT PAUSE x", "ERR timeout is not an integer or out of range");
    client.check_error("CLIENT PAUSE -1", "ERR timeout is negative");
    client.check_error("CLIENT PAUSE 1 WHAT", "ERR CLIENT PAUSE mode must be WRITE or ALL");
    client.check(
        "CLIENT PAUSE 1 WRITE more",
        "-ERR unknown subcommand or wrong number of arguments for 'PAUSE'. Try CLIENT HELP.\r\n",
    );
    client.check("CLIENT NO-EVICT maybe", "-ERR syntax error\r\n");
    client.check("CLIENT", "-ERR wrong number of arguments for 'client' command\r\n");
    client.check("CLIENT ID 3", "-ERR wrong number of arguments for 'client|id' command\r\n");
    client.check_error("CLIENT MAINT_NOTIFICATIONS ON", "ERR unknown subcommand");
}

/// The filters of Valkey 9: each alone, turned round by NOT-, and together.
fn list_by_filter(engine: Engine) {
    let server = Server::start(engine);
    let mut admin = server.client();
    let mut one = server.client();
    let mut two = server.client();
    one.check("CLIENT SETNAME one", "+OK\r\n");
    one.check("CLIENT SETINFO LIB-NAME lettuce", "+OK\r\n");
    one.check("CLIENT SETINFO LIB-VER 7.1", "+OK\r\n");
    one.check("SELECT 3", "+OK\r\n");
    two.check("CLIENT SETNAME two", "+OK\r\n");
    two.check("CLIENT NO-EVICT ON", "+OK\r\n");
    two.check("CLIENT NO-TOUCH ON", "+OK\r\n");
    two.check("CLIENT CAPA later redirect", "+OK\r\n");
    assert!(two.call(&["CLIENT", "INFO"]).text().contains(" capa=r "));
    let ids = [&mut admin, &mut one, &mut two].map(|client| client.call(&["CLIENT", "ID"]).integer().to_string());
    let mut listed = |words: &str| {
        let request = format!("CLIENT LIST {words}");
        let text = admin.call(&request.split(' ').collect::<Vec<_>>()).text();
        let id_of = |line: &str| line.split([' ', '=']).nth(1).unwrap().to_owned();
        let position = |id: String| ids.iter().position(|known| *known == id).unwrap();
        // In the order of their ids, which cores give out in the order in which they come to it.
        let mut listed: Vec<_> = text.lines().map(id_of).map(position).collect();
        listed.sort_unstable();
        listed
    };
    for (words, expect) in [
        ("NAME one", vec![1]),
        ("NOT-NAME one", vec![0, 2]),
        ("LIB-NAME lettuce", vec![1]),
        ("LIB-VER 7.1 NOT-NAME two", vec![1]),
        ("NOT-LIB-NAME lettuce NOT-FLAGS N", vec![2]),
        ("FLAGS eT", vec![2]),
        ("FLAGS e", vec![2]),
        ("DB 3", vec![1]),
        ("NOT-DB 0", vec![1]),
        ("CAPA r", vec![2]),
        ("NOT-CAPA r", vec![0, 1]),
        ("TYPE primary", vec![]),
        ("IP 127.0.0.1", vec![0, 1, 2]),
        ("NOT-IP 127.0.0.1", vec![]),
        ("USER default SKIPME yes", vec![1, 2]),
        ("NOT-USER default", vec![]),
        ("TYPE normal", vec![0, 1, 2]),
        ("TYPE pubsub", vec![]),
        ("NOT-TYPE pubsub SKIPME YES", vec![1, 2]),
        ("MAXAGE 100000", vec![]),
        ("IDLE 100000", vec![]),
    ] {
        assert_eq!(listed(words), expect, "{words}");
    }
    assert_eq!(listed(&format!("ID {} {} NOT-ID {}", ids[0], ids[1], ids[0])), [1]);
    for (words, expect) in [
        ("FLAGS q", "ERR Unknown flags found in the provided filter: q"),
        ("DB 16", "ERR DB number should be between 0 and 15"),
        ("DB x", "ERR DB number should be between 0 and 15"),
        ("USER nobody", "ERR No such user 'nobody'"),
        ("CAPA x", "ERR Unknown capability in the provided filter: x"),
        ("NOT-NONSENSE x", "ERR syntax error"),
        ("NAME", "ERR syntax error"),
        ("MAXAGE 0", "ERR maxage should be greater than 0"),
    ] {
        admin.check_error(&format!("CLIENT LIST {words}"), expect);
    }
    admin.check("CLIENT CAPA redirect", "+OK\r\n");
    admin.check("CLIENT KILL NOT-NAME one SKIPME yes", ":1\r\n");
    two.expect_closed();
    admin.check("CLIENT KILL DB 3 LIB-NAME lettuce", ":1\r\n");
    one.expect_closed();
}
