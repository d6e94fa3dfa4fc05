//! Users and what each may do, through every door; and commands that nobody may run.

use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;

use crate::client::Client;
use crate::harness::{Engine, Server, command, on_every_driver, run_to_end, temporary, wait_until};
use crate::http;
use crate::wire::Value;

on_every_driver!(
    a_monitor_that_may_only_read,
    nobody_flushes_and_nobody_lists_keys,
    what_changes_holds_at_once,
    the_default_user_is_one_like_others,
    keys_are_read_and_written_by_pattern,
    subcommands_categories_and_first_arguments,
    transactions_and_scripts_go_no_further,
    refusals_are_logged,
    a_user_that_is_deleted_is_gone,
    users_come_from_a_file_and_go_there,
    over_http,
    commands_that_nobody_may_run,
);

/// A client that is this user.
fn login(server: &Server, name: &str, password: &str) -> Client {
    let mut client = server.client();
    client.check(&format!("AUTH {name} {password}"), "+OK\r\n");
    client
}

fn a_monitor_that_may_only_read(engine: Engine) {
    let server = Server::start(engine);
    let mut admin = server.client();
    admin.check("SET key value", "+OK\r\n");
    admin.check("ACL SETUSER watch on >w nocommands +@read +info +ping allkeys", "+OK\r\n");
    let mut watch = login(&server, "watch", "w");
    watch.check("ACL WHOAMI", "-NOPERM User watch has no permissions to run the 'acl|whoami' command\r\n");
    watch.check("GET key", "$5\r\nvalue\r\n");
    assert!(watch.call(&["INFO", "server"]).text().contains("redis_version"));
    for (words, name) in
        [("SET key x", "set"), ("DEL key", "del"), ("CONFIG SET timeout 5", "config|set"), ("EVAL x 0", "eval")]
    {
        let refused = format!("-NOPERM User watch has no permissions to run the '{name}' command\r\n");
        watch.check(words, &refused);
    }
    admin.check("GET key", "$5\r\nvalue\r\n");
    let line = admin.call(&["CLIENT", "LIST", "USER", "watch"]).text();
    assert!(line.contains(" user=watch ") && line.lines().count() == 1, "{line}");
    admin.check_error("CLIENT LIST USER nobody", "ERR No such user 'nobody'");
}

fn nobody_flushes_and_nobody_lists_keys(engine: Engine) {
    let server = Server::start(engine);
    let mut admin = server.client();
    admin.check("ACL SETUSER app on >a +@all -flushall -flushdb -keys ~* &*", "+OK\r\n");
    let mut app = login(&server, "app", "a");
    app.check("SET key value", "+OK\r\n");
    for name in ["flushall", "flushdb"] {
        app.check_error(name, "NOPERM User app has no permissions");
        app.check_error(&format!("{name} ASYNC"), "NOPERM");
    }
    app.check_error("KEYS *", "NOPERM User app has no permissions to run the 'keys' command");
    app.check("DBSIZE", ":1\r\n");
    let rules = app.call(&["ACL", "GETUSER", "app"]);
    assert_eq!(rules.field("commands").text(), "+@all -flushall -flushdb -keys");
    // Pipelined behind what is allowed: each is refused for itself.
    app.send("*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n*1\r\n$8\r\nFLUSHALL\r\n*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
    app.expect("$5\r\nvalue\r\n");
    assert!(matches!(app.value(), Value::Error(_)));
    app.expect("$5\r\nvalue\r\n");
}

fn what_changes_holds_at_once(engine: Engine) {
    let server = Server::start(engine);
    let mut admin = server.client();
    admin.check("ACL SETUSER new", "+OK\r\n");
    let line = |admin: &mut Client| admin.call(&["ACL", "LIST"]).elements()[1].text();
    assert_eq!(line(&mut admin), "user new off sanitize-payload resetchannels -@all");
    admin.check("ACL SETUSER new >one", "+OK\r\n");
    server.client().check_error("AUTH new one", "WRONGPASS");
    admin.check("ACL SETUSER new on +get +set ~a*", "+OK\r\n");
    let mut new = login(&server, "new", "one");
    new.check("SET a 1", "+OK\r\n");
    // The connection is in; its next request meets the rules of that moment, on whichever core.
    admin.check("ACL SETUSER new -set", "+OK\r\n");
    new.check_error("SET a 1", "NOPERM User new");
    admin.check("ACL SETUSER new resetkeys", "+OK\r\n");
    new.check("GET a", "-NOPERM No permissions to access a key\r\n");
    admin.check("ACL SETUSER new allkeys allcommands <one", "+OK\r\n");
    new.check("SET b 1", "+OK\r\n");
    server.client().check_error("AUTH new one", "WRONGPASS");
    // A wrong rule changes nothing.
    admin.check("ACL SETUSER new off -get nonsense", "-ERR Error in ACL SETUSER modifier 'nonsense': Syntax error\r\n");
    new.check("GET b", "$1\r\n1\r\n");
    for (rule, reason) in [
        ("+nosuch", "Unknown command or category name in ACL"),
        ("+@nosuch", "Unknown command or category name in ACL"),
        ("+config|asdf", "Unknown command or category name in ACL"),
        ("-get|a", "Unknown command or category name in ACL"),
        ("+config|get|appendonly", "Allowing first-arg of a subcommand is not supported"),
        ("~x", "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid"),
        ("%RX~x", "Syntax error"),
        ("%~x", "Syntax error"),
        ("#1234", "The password hash must be exactly 64 characters"),
        ("<nosuch", "The password you are trying to remove from the user does not exist"),
        ("(+get", "Unmatched parenthesis in acl selector starting at '(+get'."),
        ("(+get on)", "Syntax error"),
    ] {
        let mut words = vec!["ACL", "SETUSER", "new"];
        words.push(rule);
        let text = admin.call(&words).text();
        assert!(text.starts_with("ERR ") && text.contains(reason), "{rule}: {text}");
        assert!(!text.contains("<nosuch"), "{text}");
    }
    admin.check_error("ACL SETUSER", "ERR wrong number of arguments");
    assert!(
        matches!(admin.call(&["ACL", "SETUSER", "a b"]), Value::Error(text) if text.contains("can't contain spaces"))
    );
}

fn the_default_user_is_one_like_others(engine: Engine) {
    let server = Server::start(engine);
    let (mut admin, mut other) = (server.client(), server.client());
    admin.check("ACL SETUSER root on >r +@all ~* &*", "+OK\r\n");
    admin.check("AUTH root r", "+OK\r\n");
    admin.check("ACL SETUSER default -@all +get +auth ~*", "+OK\r\n");
    other.check_error("SET a 1", "NOPERM User default");
    // Who may nothing may still become another.
    other.check("HELLO 2 AUTH root wrong", "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    other.check("AUTH root r", "+OK\r\n");
    other.check("SET a 1", "+OK\r\n");
    other.check("RESET", "+RESET\r\n");
    other.check_error("SET a 1", "NOPERM User default");
    admin.check("ACL SETUSER default off", "+OK\r\n");
    server.client().check_error("GET a", "NOAUTH");
    // Whoever was in stays in.
    other.check("GET a", "$1\r\n1\r\n");
    admin.check("ACL SETUSER default reset on nopass +@all ~* &*", "+OK\r\n");
    server.client().check("SET a 1", "+OK\r\n");
    // `requirepass` is the default user's password.
    admin.check("CONFIG SET requirepass hush", "+OK\r\n");
    server.client().check_error("GET a", "NOAUTH");
    server.client().check("AUTH hush", "+OK\r\n");
    let hash = "ab61a0d0dd6ba5e87f8b7b5b4a2b6b4b";
    let line = admin.call(&["ACL", "LIST"]).elements()[0].text();
    assert!(line.starts_with("user default on sanitize-payload #") && !line.contains("hush") && !line.contains(hash));
    admin.check("CONFIG SET requirepass", "-ERR wrong number of arguments for 'config|set' command\r\n");
    admin.check_error("ACL DELUSER default", "ERR The 'default' user cannot be removed");
}

fn keys_are_read_and_written_by_pattern(engine: Engine) {
    let server = Server::start(engine);
    let mut admin = server.client();
    for key in ["in:1", "out:1", "both:1"] {
        admin.check(&format!("SET {key} 1"), "+OK\r\n");
    }
    admin.check("ACL SETUSER u on nopass +@all %R~in:* %W~out:* ~both:*", "+OK\r\n");
    let mut user = login(&server, "u", "any");
    let denied = "NOPERM No permissions to access a key";
    for (words, is_allowed) in [
        ("GET in:1", true),
        ("SET in:1 x", false),
        ("INCR in:1", false),
        ("GET out:1", false),
        ("SET out:1 1", true),
        // It also replies with the value of before.
        ("SET out:1 1 GET", false),
        ("INCR out:1", false),
        ("APPEND out:1 1", true),
        ("DEL out:1", true),
        ("GETDEL out:1", false),
        ("COPY in:1 out:2", true),
        ("COPY out:2 in:1", false),
        ("RENAME both:1 out:3", true),
        ("MGET in:1 both:1", true),
        ("MGET in:1 other", false),
        ("MSET out:1 1 both:1 1", true),
        ("MSET out:1 1 in:1 1", false),
        // Whether a key is there may be asked with any permission for it, and with none it may not.
        ("EXISTS out:1", true),
        ("TTL out:1", false),
        ("EXISTS other", false),
        ("BITFIELD in:1 GET u8 0", true),
        ("BITFIELD in:1 SET u8 0 1", false),
        ("BITOP AND out:1 in:1", true),
        ("BITOP AND in:1 out:1", false),
        ("EVAL return 1 in:1", false),
    ] {
        match user.call(&words.split(' ').collect::<Vec<_>>()) {
            Value::Error(text) => {
                assert!(!is_allowed && (text.starts_with(denied) || words.starts_with("EVAL")), "{words}: {text}")
            }
            _ => assert!(is_allowed, "{words}"),
        }
    }
    assert_eq!(admin.call(&["ACL", "GETUSER", "u"]).field("keys").text(), "%R~in:* %W~out:* ~both:*");
    // More sets of rules: each is enough, and none lends to another.
    admin.check(
        "ACL SETUSER u reset on nopass +get ~a* (+set ~b*) (+del",
        "-ERR Unmatched parenthesis in acl selector starting at '(+del'.\r\n",
    );
    admin.check("ACL SETUSER u reset on nopass +get ~a* (+set ~b*)", "+OK\r\n");
    user.check("GET a", "$-1\r\n");
    user.check("SET b 1", "+OK\r\n");
    user.check("SET a 1", "-NOPERM No permissions to access a key\r\n");
    user.check("GET b", "-NOPERM No permissions to access a key\r\n");
    let selectors = admin.call(&["ACL", "GETUSER", "u"]).field("selectors");
    assert_eq!(selectors.elements()[0].field("keys").text(), "~b*");
    admin.check("ACL DRYRUN u GET b", "$47\r\nUser u has no permissions to access the 'b' key\r\n");
    admin.check("ACL SETUSER u clearselectors", "+OK\r\n");
    user.check_error("SET b 1", "NOPERM User u has no permissions to run the 'set' command");
}

fn subcommands_categories_and_first_arguments(engine: Engine) {
    let server = Server::start(engine);
    let mut admin = server.client();
    let commands = |admin: &mut Client| admin.call(&["ACL", "GETUSER", "u"]).field("commands").text();
    for (rules, expect) in [
        ("+@all -client +client|id +client|setname", "+@all -client +client|id +client|setname"),
        ("-@all +memory|doctor", "-@all +memory|doctor"),
        ("+memory", "-@all +memory"),
        ("reset +@string -incr +acl", "-@all +@string -incr +acl"),
        ("+@STRING", "-@all -incr +acl +@string"),
        ("-@all +acl +select|0", "-@all +acl +select|0"),
        ("-select", "-@all +acl -select"),
        // What is not served here may be named: users files come from elsewhere.
        ("-@all +hset -xinfo|stream", "-@all +hset -xinfo|stream"),
        ("allcommands", "+@all"),
    ] {
        admin.check(&format!("ACL SETUSER u on nopass allkeys {rules}"), "+OK\r\n");
        assert_eq!(commands(&mut admin), expect, "{rules}");
    }
    admin.check("ACL SETUSER u -@all +acl +config -config|set +select|0 +@transaction", "+OK\r\n");
    let mut user = login(&server, "u", "any");
    user.call(&["CONFIG", "GET", "loglevel"]).pairs();
    user.check_error("CONFIG SET timeout 5", "NOPERM User u has no permissions to run the 'config|set' command");
    user.check("SELECT 0", "+OK\r\n");
    user.check_error("SELECT 1", "NOPERM User u has no permissions to run the 'select' command");
    user.check("MULTI", "+OK\r\n");
    user.check("EXEC", "*0\r\n");
    user.check_error("GET a", "NOPERM User u");
}

fn transactions_and_scripts_go_no_further(engine: Engine) {
    let server = Server::start(engine);
    let mut admin = server.client();
    admin.check("ACL SETUSER u on nopass +@all -incr ~a* &*", "+OK\r\n");
    let mut user = login(&server, "u", "any");
    user.check("MULTI", "+OK\r\n");
    user.check("SET a 1", "+QUEUED\r\n");
    user.check_error("INCR a", "NOPERM User u has no permissions to run the 'incr' command");
    user.check("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n");
    // What was queued and is not allowed any more when it is to run.
    user.check("MULTI", "+OK\r\n");
    user.check("SET a 1", "+QUEUED\r\n");
    user.check("GET a", "+QUEUED\r\n");
    admin.check("ACL SETUSER u -set", "+OK\r\n");
    user.check("EXEC", "*2\r\n-NOPERM User u has no permissions to run the 'set' command\r\n$-1\r\n");
    let text = user.call(&["EVAL", "return redis.call('set', KEYS[1], 1)", "1", "a"]).text();
    assert!(
        text.starts_with("NOPERM ACL failure in script: User u has no permissions to run the 'set' command"),
        "{text}"
    );
    let script =
        "return {redis.acl_check_cmd('get', 'a'), redis.acl_check_cmd('set', 'a', 1), redis.acl_check_cmd('get', 'b')}";
    assert_eq!(user.call(&["EVAL", script, "0"]), Value::Array(vec![Value::Integer(1), Value::Null, Value::Null]));
    // Said before anything else that may be wrong with the call.
    user.check_error(
        "EVAL return(redis.call('set','undeclared',1)) 0",
        "NOPERM ACL failure in script: User u has no permissions",
    );
    let text = user.call(&["EVAL", "return 1", "1", "b"]).text();
    assert_eq!(text, "NOPERM No permissions to access a key");
    admin.check("EXISTS a", ":0\r\n");
}

fn refusals_are_logged(engine: Engine) {
    let server = Server::start(engine);
    let mut admin = server.client();
    admin.check("ACL SETUSER u on >secret +set +multi +eval ~ok", "+OK\r\n");
    let mut user = login(&server, "u", "secret");
    for _ in 0..3 {
        user.check_error("GET x", "NOPERM");
    }
    user.check_error("SET hidden value", "NOPERM");
    user.check_error("AUTH u wrong-secret", "WRONGPASS");
    user.check("MULTI", "+OK\r\n");
    user.check_error("INCR n", "NOPERM");
    let entries = admin.call(&["ACL", "LOG"]);
    let told: Vec<_> = entries
        .elements()
        .iter()
        .map(|entry| {
            let field = |name| entry.field(name).text();
            assert!(field("client-info").contains("user=u") && field("username") == "u");
            (field("reason"), field("context"), field("object"), entry.field("count").integer())
        })
        .collect();
    let entry = |reason: &str, context: &str, object: &str, count| {
        (reason.to_owned(), context.to_owned(), object.to_owned(), count)
    };
    assert_eq!(
        told,
        [
            entry("command", "multi", "incr", 1),
            entry("auth", "toplevel", "AUTH", 1),
            entry("key", "toplevel", "hidden", 1),
            entry("command", "toplevel", "get", 3),
        ]
    );
    let ids: Vec<_> = entries.elements().iter().map(|entry| entry.field("entry-id").integer()).collect();
    assert_eq!(ids, [3, 2, 1, 0]);
    assert_eq!(admin.call(&["ACL", "LOG", "1"]).elements().len(), 1);
    assert_eq!(admin.info_number("acl_access_denied_cmd"), 4);
    assert_eq!(admin.info_number("acl_access_denied_key"), 1);
    admin.check("CONFIG SET acllog-max-len 2", "+OK\r\n");
    assert_eq!(admin.call(&["ACL", "LOG"]).elements().len(), 2);
    admin.check("ACL LOG RESET", "+OK\r\n");
    admin.check("ACL LOG", "*0\r\n");
    // No password is ever told to whoever looks.
    admin.check("CONFIG SET slowlog-log-slower-than 0", "+OK\r\n");
    admin.check("ACL SETUSER u >another-secret", "+OK\r\n");
    server.client().check_error("AUTH u another-wrong-secret", "WRONGPASS");
    for words in [&["SLOWLOG", "GET", "100"][..], &["ACL", "LOG"], &["ACL", "LIST"], &["INFO", "everything"]] {
        let shown = format!("{:?}", admin.call(words));
        assert!(!shown.contains("secret"), "{shown}");
    }
}

fn a_user_that_is_deleted_is_gone(engine: Engine) {
    let server = Server::start(engine);
    let mut admin = server.client();
    for name in ["one", "two", "three"] {
        admin.check(&format!("ACL SETUSER {name} on nopass +@all ~* &*"), "+OK\r\n");
    }
    let (mut one, mut two) = (login(&server, "one", "x"), login(&server, "two", "x"));
    admin.check("ACL DELUSER one nobody three", ":2\r\n");
    one.expect_closed();
    two.check("PING", "+PONG\r\n");
    // Whoever does away with themselves is told first.
    two.check("ACL DELUSER two", ":1\r\n");
    two.expect_closed();
    admin.check("ACL USERS", "*1\r\n$7\r\ndefault\r\n");
    server.client().check_error("AUTH one x", "WRONGPASS");
}

fn users_come_from_a_file_and_go_there(engine: Engine) {
    let file = temporary("users.acl");
    std::fs::write(&*file, "# who may what\nuser app on >pw ~app:* +@read +set\n\nuser idle off\n").unwrap();
    std::fs::set_permissions(&*file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let flag = format!("--aclfile={}", file.display());
    let server = Server::with(engine, &[&flag]);
    let mut admin = server.client();
    let mut app = login(&server, "app", "pw");
    app.check("SET app:1 x", "+OK\r\n");
    app.check_error("SET other x", "NOPERM No permissions");
    server.client().check_error("AUTH idle x", "WRONGPASS");
    admin.check("ACL SETUSER more on >hush +get (+set ~x)", "+OK\r\n");
    admin.check("ACL SAVE", "+OK\r\n");
    let text = std::fs::read_to_string(&*file).unwrap();
    assert!(
        text.contains("user more on ") && text.contains("(~x resetchannels -@all +set)") && !text.contains("hush"),
        "{text}"
    );
    assert_eq!(std::fs::metadata(&*file).unwrap().permissions().mode() & 0o777, 0o600);
    // What was written is what there is: nobody is changed, and nobody closed.
    let before = admin.call(&["ACL", "LIST"]);
    admin.check("ACL LOAD", "+OK\r\n");
    assert_eq!(admin.call(&["ACL", "LIST"]), before);
    app.check("GET app:1", "$1\r\nx\r\n");
    // A wrong line changes nothing, and is named.
    std::fs::write(&*file, format!("{text}user app on +@all\nusr x\nuser y +nosuch >pass1\nuser z <pass2\n")).unwrap();
    let error = admin.call(&["ACL", "LOAD"]).text();
    for part in [
        "Duplicate user 'app' found",
        "line should start with user keyword",
        ":8: (a password)",
        "no change to the previously",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!error.contains("pass1") && !error.contains("pass2"), "{error}");
    assert_eq!(admin.call(&["ACL", "LIST"]), before);
    // Those whose rules change, or who are gone, are closed.
    std::fs::write(&*file, "user default on nopass ~* &* +@all\nuser more on >hush +get (+set ~x)\n").unwrap();
    admin.check("ACL LOAD", "+OK\r\n");
    app.expect_closed();
    admin.check("ACL USERS", "*2\r\n$7\r\ndefault\r\n$4\r\nmore\r\n");
    // SIGHUP reads it again, too, with the options.
    std::fs::write(&*file, "user default on nopass ~* &* +@all\nuser late on nopass\n").unwrap();
    server.signal(Signal::SIGHUP);
    wait_until("the users are reloaded", || server.stderr().contains("reloaded: the users"));
    admin.check("ACL USERS", "*2\r\n$7\r\ndefault\r\n$4\r\nlate\r\n");
    std::fs::write(&*file, "user late +nosuch\n").unwrap();
    server.signal(Signal::SIGHUP);
    wait_until("nothing is reloaded", || server.stderr().contains("nothing reloaded"));
    admin.check("ACL USERS", "*2\r\n$7\r\ndefault\r\n$4\r\nlate\r\n");
    // A start, and `--check`, with a wrong file.
    std::fs::write(&*file, "user x +nosuch\n").unwrap();
    for more in ["--check", "--tune=check"] {
        let (code, _, error) = run_to_end(command(&[&flag, more]));
        assert_eq!(code, Some(2), "{error}");
        assert!(error.contains(":1: +nosuch (Unknown command or category name in ACL)"), "{error}");
    }
    Server::start(engine)
        .client()
        .check_error("ACL SAVE", "ERR This Redis instance is not configured to use an ACL file");
}

fn over_http(engine: Engine) {
    let (server, address) = http::start(engine, &[]);
    let mut admin = server.client();
    admin.check("ACL SETUSER reader on >r +get +info ~pub:*", "+OK\r\n");
    admin.check("SET pub:1 open", "+OK\r\n");
    admin.check("SET priv:1 closed", "+OK\r\n");
    let mut door = http::Client::new(address);
    // reader:r and reader:x
    let (right, wrong) = ("Authorization: Basic cmVhZGVyOnI=\r\n", "Authorization: Basic cmVhZGVyOng=\r\n");
    let mut ask = |method: &str, path: &str, fields: &str| {
        let reply = door.ask(method, path, fields, b"");
        (reply.status, String::from_utf8_lossy(&reply.body).into_owned())
    };
    assert_eq!(ask("GET", "/kv/pub:1", right), (200, "open".to_owned()));
    assert_eq!(ask("GET", "/kv/priv:1", right).0, 403);
    let refused = ask("DELETE", "/kv/pub:1", right);
    assert!(refused.0 == 403 && refused.1.contains("no permissions to run the 'del' command"), "{refused:?}");
    assert_eq!(ask("GET", "/metrics", right).0, 200);
    assert_eq!(ask("GET", "/kv/pub:1", wrong).0, 401);
    // On the same connection the next request is somebody else's.
    assert_eq!(ask("GET", "/kv/priv:1", ""), (200, "closed".to_owned()));
    admin.check("ACL SETUSER default -del", "+OK\r\n");
    assert_eq!(ask("DELETE", "/kv/priv:1", "").0, 403);
    admin.check("ACL SETUSER default off", "+OK\r\n");
    assert_eq!(ask("GET", "/kv/pub:1", "").0, 401);
    assert_eq!(ask("GET", "/kv/pub:1", right).0, 200);
}

fn commands_that_nobody_may_run(engine: Engine) {
    let server = Server::with(engine, &["--disable-command=flushall,KEYS,config|set", "--disable-command=@scripting"]);
    let mut client = server.client();
    client.check("SET a 1", "+OK\r\n");
    for words in ["FLUSHALL", "keys *", "EVAL x 0", "SCRIPT LOAD x"] {
        let text = client.call(&words.split(' ').collect::<Vec<_>>()).text();
        assert!(text.starts_with("ERR unknown command") && text.contains("--disable-command"), "{text}");
    }
    client.check_error("CONFIG SET timeout 5", "ERR unknown subcommand 'SET'");
    client.call(&["CONFIG", "GET", "timeout"]).pairs();
    client.check("FLUSHDB", "+OK\r\n");
    let names = format!("{:?}", client.call(&["COMMAND", "LIST"]));
    assert!(!names.contains(&format!("{:?}", Value::bulk("flushall"))) && !names.contains("eval"), "{names}");
    let count = client.call(&["COMMAND", "COUNT"]).integer();
    assert_eq!(client.call(&["COMMAND"]).elements().len() as i64, count);
    client.check("COMMAND INFO keys", "*1\r\n$-1\r\n");
    let docs = client.call(&["COMMAND", "DOCS"]).pairs().len();
    assert_eq!(docs as i64, count);
    let (code, _, error) = run_to_end(command(&["--disable-command=get,nosuch"]));
    assert!(code == Some(2) && error.contains("--disable-command: there is no command 'nosuch'"), "{error}");
    // Nor through another door.
    let (_server, address) = http::start(engine, &["--disable-command=del"]);
    let mut door = http::Client::new(address);
    assert_eq!(door.ask("DELETE", "/kv/a", "", b"").status, 403);
}
