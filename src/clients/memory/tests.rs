//! Who gets room, who waits for it, and who is closed.

use super::super::testing::enter;
use super::*;

const STEP: usize = limits::CLIENT_MEMORY_STEP_BYTES;

#[test]
fn as_much_is_taken_as_there_is() {
    let step = limits::CLIENT_MEMORY_STEP_BYTES;
    let memory = ClientMemory::new(8 * step);
    let limit = memory.output_limit_bytes();
    assert_eq!(memory.take(step, step), Some(step));
    assert_eq!(memory.take(20 * step, step), Some(3 * step));
    assert_eq!(memory.take(20 * step, limit - 4 * step), Some(limit - 4 * step));
    assert_eq!((memory.take(1, 1), memory.take(0, 1)), (None, Some(0)));
    memory.change(-(limit as isize));
    assert_eq!(memory.used_bytes(), 0);
}

#[test]
fn client_memory_is_refused_at_its_limit_and_given_back() {
    let clients = Clients::new(1, 10, 3 * STEP);
    let client = enter(&clients);
    let (mut one, mut two) = (MemoryQuota::new(client.clone()), MemoryQuota::new(client));
    assert!(one.resize(&clients, 2 * STEP));
    assert!(two.resize(&clients, 1));
    assert!(!two.resize(&clients, STEP + 1));
    assert!(one.resize(&clients, 0));
    assert!(two.resize(&clients, STEP + 1));
    assert_eq!(clients.memory.used_bytes(), 2 * STEP);
}

#[test]
fn a_crowd_with_a_byte_each_leaves_room() {
    let clients = Clients::new(1, 3000, 128 * STEP);
    let mut crowd: Vec<_> = (0..2048).map(|_| MemoryQuota::new(enter(&clients))).collect();
    assert!(crowd.iter_mut().all(|quota| quota.resize(&clients, 8)));
    assert!(MemoryQuota::new(enter(&clients)).resize(&clients, 64 * STEP));
}

#[test]
fn who_finds_no_room_waits_in_line_and_is_granted_it_in_turn() {
    let clients = Clients::new(1, 10, 32 * STEP);
    let mut quotas: Vec<_> = (0..4).map(|_| MemoryQuota::new(enter(&clients))).collect();
    assert_eq!(quotas[0].extend_or_wait(&clients, 10 * STEP, false, 0), Granted::Now);
    assert_eq!(quotas[0].extend_or_wait(&clients, 10 * STEP, false, 0), Granted::Now);
    assert_eq!(quotas[1].extend_or_wait(&clients, 8 * STEP, false, 0), Granted::Later);
    // There would be room for it, but others came before; what is small passes.
    assert_eq!(quotas[2].extend_or_wait(&clients, 2 * STEP, false, 0), Granted::Later);
    assert_eq!(quotas[3].extend_or_wait(&clients, STEP, false, 0), Granted::Now);
    assert_eq!(quotas[3].extend_or_wait(&clients, 33 * STEP, false, 0), Granted::Never);
    assert!(quotas[1].is_waiting(&clients) && quotas[2].is_waiting(&clients));
    quotas[0].resize(&clients, 10 * STEP);
    assert!(!quotas[1].is_waiting(&clients) && !quotas[2].is_waiting(&clients));
    assert_eq!((quotas[1].bytes(), quotas[2].bytes()), (8 * STEP, 2 * STEP));
    assert!(!clients.memory.is_waited_for());
    quotas.iter_mut().for_each(|quota| quota.end(&clients));
    assert_eq!(clients.memory.used_bytes(), 0);
}

#[test]
fn what_scripts_give_back_is_for_those_who_wait() {
    let clients = Clients::new(1, 10, 32 * STEP);
    let granted = clients.memory.take(30 * STEP, 16 * STEP).expect("there is room for a script");
    let mut quota = MemoryQuota::new(enter(&clients));
    assert_eq!(quota.extend_or_wait(&clients, 20 * STEP, false, 0), Granted::Later);
    clients.memory.change(-(granted as isize));
    assert!(!quota.is_in_line() && !quota.is_waiting(&clients));
    assert_eq!(quota.bytes(), 20 * STEP);
    quota.end(&clients);
    assert_eq!(clients.memory.used_bytes(), 0);
}

#[test]
fn where_all_who_hold_the_memory_wait_in_line_some_are_closed() {
    let clients = Clients::new(1, 10, 32 * STEP);
    let mut quotas: Vec<_> = (0..4).map(|_| MemoryQuota::new(enter(&clients))).collect();
    assert!(quotas.iter_mut().all(|quota| quota.resize(&clients, 8 * STEP)));
    let mut late = MemoryQuota::new(enter(&clients));
    let ask = |quota: &mut MemoryQuota| quota.extend_or_wait(&clients, STEP, true, 0);
    assert!(quotas.iter_mut().chain([&mut late]).all(|quota| ask(quota) == Granted::Later));
    (0..limits::OUTPUT_STALL_WAITED_FOR_MS / 500).for_each(|_| clients.relieve(500, 0));
    assert!(clients.all().iter().all(|client| !client.is_killed()));
    clients.relieve(500, 0);
    let killed = quotas.iter_mut().filter(|quota| quota.client.is_killed());
    assert_eq!(killed.map(|quota| quota.end(&clients)).count(), 2);
    assert!(!late.client.is_killed() && !late.is_waiting(&clients), "the others are served");
}

#[test]
fn who_has_stopped_amid_a_request_keeps_nobody_waiting_for_good() {
    let clients = Clients::new(1, 10, 32 * STEP);
    let mut quotas: Vec<_> = (0..4).map(|_| MemoryQuota::new(enter(&clients))).collect();
    for quota in &mut quotas {
        assert!(quota.resize(&clients, 8 * STEP));
        quota.client.arrived_bytes.store(8 * STEP, SeqCst);
    }
    let mut late = MemoryQuota::new(enter(&clients));
    assert_eq!(late.extend_or_wait(&clients, STEP / 2, false, 0), Granted::Later);
    let relieve = |now| (0..3).for_each(|_| clients.relieve(500, now));
    relieve(limits::REQUEST_STALL_MS);
    assert!(clients.all().iter().all(|client| !client.is_killed()), "they may go on yet");
    quotas[3].client.last_active.store(limits::REQUEST_STALL_MS, SeqCst);
    quotas[2].client.no_evict.store(true, SeqCst);
    relieve(limits::REQUEST_STALL_MS + 1);
    let killed: Vec<bool> = quotas.iter().map(|quota| quota.client.is_killed()).collect();
    assert_eq!(killed, [true, true, false, false]);
    quotas[..2].iter_mut().for_each(|quota| quota.end(&clients));
    assert!(!late.is_waiting(&clients));
}

#[test]
fn who_leaves_the_line_keeps_nobody_waiting() {
    let clients = Clients::new(1, 10, 32 * STEP);
    let mut quotas: Vec<_> = (0..3).map(|_| MemoryQuota::new(enter(&clients))).collect();
    assert!(quotas[0].extend(&clients, 24 * STEP, false, false));
    assert_eq!(quotas[1].extend_or_wait(&clients, 9 * STEP, false, 0), Granted::Later);
    assert_eq!(quotas[2].extend_or_wait(&clients, 9 * STEP, false, 0), Granted::Later);
    quotas[1].end(&clients);
    quotas[0].end(&clients);
    assert!(!quotas[2].is_waiting(&clients));
    quotas[2].end(&clients);
    assert_eq!(clients.memory.used_bytes(), 0);
}

#[test]
fn nothing_that_is_granted_between_threads_is_lost() {
    let clients = Clients::new(1, 100, 32 * STEP);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (clients, mut quota) = (&clients, MemoryQuota::new(enter(&clients)));
            scope.spawn(move || {
                for turn in 0..2_000 {
                    // As a session does: it asks for what is missing, waits until it is out of the line, asks again, and gives
                    // back. (Who asked for more than that might hold what others wait for, who hold what it waits for.)
                    let wanted = (8 + turn % 8) * STEP;
                    while quota.bytes() < wanted
                        && quota.extend_or_wait(clients, wanted - quota.bytes(), false, 0) == Granted::Later
                    {
                        while quota.is_waiting(clients) {
                            std::thread::yield_now();
                        }
                    }
                    quota.resize(clients, 0);
                }
                quota.end(clients);
            });
        }
    });
    assert_eq!((clients.memory.used_bytes(), clients.memory.waiting()), (0, 0));
}

#[test]
fn nobody_waits_for_what_his_own_request_holds() {
    let clients = Clients::new(1, 10, 32 * STEP);
    let mut quotas: Vec<_> = (0..2).map(|_| MemoryQuota::new(enter(&clients))).collect();
    assert!(quotas[0].resize(&clients, 20 * STEP));
    assert_eq!(quotas[0].extend_or_wait(&clients, 13 * STEP, false, 20 * STEP), Granted::Never);
    // What replies hold goes.
    assert_eq!(quotas[0].extend_or_wait(&clients, 13 * STEP, false, 10 * STEP), Granted::Later);
    assert_eq!(quotas[1].extend_or_wait(&clients, 13 * STEP, false, 0), Granted::Later);
    quotas.iter_mut().for_each(|quota| quota.end(&clients));
    assert_eq!((clients.memory.used_bytes(), clients.memory.waiting()), (0, 0));
}

#[test]
fn what_is_kept_is_nobodys_room() {
    let clients = Clients::new(1, 10, 32 * STEP);
    let mut quotas: Vec<_> = (0..2).map(|_| MemoryQuota::new(enter(&clients))).collect();
    assert!(quotas[0].resize(&clients, 4 * STEP));
    assert_eq!(quotas[1].extend_or_wait(&clients, 30 * STEP, false, 0), Granted::Later);
    // Who waits already hears of it, too.
    clients.memory.keep(3 * STEP as isize);
    quotas[0].resize(&clients, 0);
    assert!(!quotas[1].is_waiting(&clients));
    assert_eq!(quotas[1].extend_or_wait(&clients, 30 * STEP, false, 0), Granted::Never);
    assert_eq!(quotas[1].extend_or_wait(&clients, 29 * STEP, false, 0), Granted::Now);
    clients.memory.keep(-(3 * STEP as isize));
    quotas[1].end(&clients);
    assert_eq!(clients.memory.used_bytes(), 0);
}

#[test]
fn what_is_charged_can_be_kept_whatever_others_hold() {
    let clients = Clients::new(1, 10, 32 * STEP);
    let mut quotas: Vec<_> = (0..2).map(|_| MemoryQuota::new(enter(&clients))).collect();
    assert!(quotas[0].resize(&clients, 20 * STEP) && quotas[1].resize(&clients, STEP / 2));
    assert_eq!(quotas[1].extend_or_wait(&clients, 16 * STEP, false, 0), Granted::Later);
    quotas[0].resize(&clients, 15 * STEP);
    assert!(!quotas[1].is_waiting(&clients));
    let granted = quotas[1].bytes();
    assert_eq!(granted, 16 * STEP + STEP / 2);
    // All that is left is taken by another; no step has to be filled up for what is there already.
    assert!(!quotas[0].resize(&clients, 15 * STEP + STEP / 4 + 1));
    assert!(quotas[1].resize(&clients, granted));
    assert_eq!(quotas[1].bytes(), granted);
}
