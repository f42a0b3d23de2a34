//! Updates as a program in their middle would see them, and what happens where there is no room.

use std::sync::Mutex;

use mesh_common::service::ChoiceKey;

use super::*;
use crate::kernel::service_maps::FakeServices;
use crate::model::cluster::TableSize;
use crate::model::service::ByClient;
use crate::spread::maglev;

type Fake = Arc<Mutex<FakeServices>>;

fn table(limits: Limits) -> (Fake, ServiceTable) {
    let fake = Fake::default();
    let table = ServiceTable::new(Box::new(Arc::clone(&fake)), limits).unwrap();
    (fake, table)
}

/// The next agent.
fn again(fake: &Fake) -> ServiceTable {
    ServiceTable::new(Box::new(Arc::clone(fake)), Limits::default()).unwrap()
}

fn services(protocol: Protocol, each: &[(&str, usize)]) -> Services {
    let service = |&(address, endpoints): &(&str, usize)| {
        let endpoint = |n: usize| (Some(SocketAddr::from(([10, 0, 0, 1], u16::try_from(n + 1).unwrap()))), 1.0);
        let service = Service {
            listener: address.into(),
            shares: (0..endpoints).map(endpoint).collect(),
            resting: Vec::new(),
            by_client: None,
        };
        ((protocol, address.parse().unwrap()), Arc::new(service))
    };
    Services(each.iter().map(service).collect())
}

fn set(table: &mut ServiceTable, next: &Services) {
    table.forget(next);
    table.learn(next);
}

/// The sizes of the sets that the services name, by address, each of them whole.
fn served(fake: &Fake) -> Vec<(String, u32)> {
    let fake = fake.lock().unwrap();
    let whole = |service: &service::Service| {
        (0..service.count).all(|index| fake.choices.contains_key(&ChoiceKey { set: service.set, index }))
    };
    assert!(fake.services.values().all(whole), "{fake:?}");
    fake.services.iter().map(|(key, service)| (place(key).1.to_string(), service.count)).collect()
}

fn two() -> Services {
    services(Protocol::Tcp, &[("10.96.0.1:80", 2), ("10.96.0.2:80", 3)])
}

#[test]
fn an_update_writes_then_points_and_removes_later() {
    let (fake, mut table) = table(Limits::default());
    set(&mut table, &two());
    assert_eq!(served(&fake), [("10.96.0.1:80".to_owned(), 2), ("10.96.0.2:80".to_owned(), 3)]);
    fake.lock().unwrap().log.clear();
    set(&mut table, &services(Protocol::Tcp, &[("10.96.0.1:80", 4), ("10.96.0.2:80", 3)]));
    assert_eq!(fake.lock().unwrap().log, ["put choices", "put service"]);
    assert_eq!(fake.lock().unwrap().choices.len(), 2 + 3 + 4);
    table.tick();
    assert_eq!(fake.lock().unwrap().choices.len(), 3 + 4);
    // Nothing has changed: nothing is done.
    fake.lock().unwrap().log.clear();
    let same = table.wanted.clone();
    set(&mut table, &same);
    table.tick();
    assert_eq!(fake.lock().unwrap().log, Vec::<&str>::new());
}

#[test]
fn what_is_gone_is_forgotten_first() {
    let (fake, mut table) = table(Limits::default());
    set(&mut table, &two());
    let next = services(Protocol::Tcp, &[("10.96.0.2:80", 3), ("10.96.0.3:80", 1)]);
    table.forget(&next);
    assert_eq!(served(&fake), [("10.96.0.2:80".to_owned(), 3)]);
    table.learn(&next);
    assert_eq!(served(&fake).len(), 2);
    set(&mut table, &Services::default());
    table.tick();
    assert!(fake.lock().unwrap().choices.is_empty());
}

#[test]
fn beyond_the_limits_tcp_goes_to_the_agent_and_udp_is_refused() {
    let (fake, mut tcp) = table(Limits { services: 1, choices: 10, ..Limits::default() });
    set(&mut tcp, &two());
    assert_eq!((served(&fake), tcp.left_out()), (vec![("10.96.0.1:80".to_owned(), 2)], 1));
    // Room is made use of as soon as there is some.
    set(&mut tcp, &services(Protocol::Tcp, &[("10.96.0.2:80", 3)]));
    assert_eq!((served(&fake), tcp.left_out()), (vec![("10.96.0.2:80".to_owned(), 3)], 0));
    // An update that does not fit must not leave the old endpoints in place.
    set(&mut tcp, &services(Protocol::Tcp, &[("10.96.0.2:80", 11)]));
    assert_eq!((served(&fake), tcp.left_out()), (vec![], 1));
    let (fake, mut udp) = table(Limits { services: 1, choices: 4, ..Limits::default() });
    set(&mut udp, &services(Protocol::Udp, &[("10.96.0.2:53", 3)]));
    udp.tick();
    assert_eq!((served(&fake), udp.left_out()), (vec![("10.96.0.2:53".to_owned(), 0)], 1));
    set(&mut udp, &services(Protocol::Udp, &[("10.96.0.2:53", 2)]));
    assert_eq!((served(&fake), udp.left_out()), (vec![("10.96.0.2:53".to_owned(), 2)], 0));
}

#[test]
fn tables_of_slots_come_before_their_service_and_have_a_limit() {
    let with_table = |address: &str, slots: u64| {
        let all = services(Protocol::Tcp, &[(address, 3)]);
        let (key, service) = all.0.iter().next().unwrap();
        let names: Vec<_> = service.endpoints().map(|endpoint| endpoint.to_string()).collect();
        let table = maglev::table(&names, &[1.0; 3], TableSize::new(slots).unwrap()).unwrap();
        let members = table.members.iter().filter_map(|index| service.endpoints().nth(*index as usize)).collect();
        let by_client = Some(ByClient { members, table: Arc::new(table) });
        Services([(*key, Arc::new(Service { by_client, ..Service::clone(service) }))].into())
    };
    let limits = Limits { blocks: 16, ..Limits::default() };
    let (fake, mut table) = table(limits);
    set(&mut table, &with_table("10.96.0.1:80", 1021));
    assert_eq!(fake.lock().unwrap().log, ["put choices", "put blocks", "put service"]);
    let slots = |fake: &Fake| fake.lock().unwrap().services.values().next().map(|service| service.slots());
    assert_eq!((slots(&fake), fake.lock().unwrap().blocks.len()), (Some(Some(1021)), 16));
    assert_eq!(table.reconcile().unwrap(), 0);
    let damaged = ChoiceKey { set: 1, index: 9 };
    fake.lock().unwrap().blocks.get_mut(&damaged).unwrap().0[5] ^= 1;
    assert_eq!((table.reconcile().unwrap(), table.reconcile().unwrap()), (1, 0));
    table.tick();
    assert_eq!(fake.lock().unwrap().blocks.len(), 16);
    // The next agent finds them; what does not fit is the agent's, and never chosen another way.
    let mut second = ServiceTable::new(Box::new(Arc::clone(&fake)), limits).unwrap();
    set(&mut second, &with_table("10.96.0.1:80", 1031));
    assert_eq!((slots(&fake), second.left_out()), (None, 1));
    second.tick();
    assert!(fake.lock().unwrap().blocks.is_empty() && fake.lock().unwrap().choices.is_empty());
    set(&mut second, &with_table("10.96.0.1:80", 1019));
    assert_eq!((slots(&fake), second.left_out()), (Some(Some(1019)), 0));
}

#[test]
fn many_updates_in_a_second_do_not_pile_up() {
    let (fake, mut table) = table(Limits { services: 1, choices: 10, ..Limits::default() });
    for n in 0..100 {
        set(&mut table, &services(Protocol::Tcp, &[("10.96.0.1:80", 5 + n % 2)]));
        assert!(fake.lock().unwrap().choices.len() <= 20);
        assert_eq!(table.left_out(), 0);
    }
}

#[test]
fn what_the_kernel_refuses_is_tried_again() {
    let (fake, mut table) = table(Limits::default());
    fake.lock().unwrap().room = Some(2);
    set(&mut table, &two());
    assert_eq!((served(&fake).len(), table.left_out()), (1, 1));
    fake.lock().unwrap().room = None;
    table.tick();
    assert_eq!((served(&fake).len(), table.left_out()), (2, 0));
    table.tick();
    assert_eq!(fake.lock().unwrap().choices.len(), 5);
}

#[test]
fn what_somebody_else_changed_is_put_right() {
    let (fake, mut table) = table(Limits::default());
    set(&mut table, &two());
    assert_eq!(table.reconcile().unwrap(), 0);
    let stranger = key(Protocol::Tcp, "10.96.9.9:80".parse().unwrap());
    {
        let mut fake = fake.lock().unwrap();
        let gone = *fake.services.keys().next().unwrap();
        fake.services.remove(&gone);
        fake.services.insert(stranger, service::Service { set: 99, count: 1 });
        let damaged = fake.choices.keys().next_back().copied().unwrap();
        fake.choices.remove(&damaged);
    }
    assert_eq!(table.reconcile().unwrap(), 2);
    assert_eq!(served(&fake), [("10.96.0.1:80".to_owned(), 2), ("10.96.0.2:80".to_owned(), 3)]);
    assert_eq!(table.reconcile().unwrap(), 0);
}

#[test]
fn what_an_earlier_agent_left_serves_until_it_is_known_better() {
    let (fake, mut first) = table(Limits::default());
    set(&mut first, &two());
    // It died in the middle of an update.
    fake.lock().unwrap().choices.insert(ChoiceKey { set: 77, index: 4 }, alias::table(&[(None, 1.0)])[0]);
    drop(first);
    let mut second = again(&fake);
    assert_eq!(served(&fake).len(), 2);
    set(&mut second, &services(Protocol::Tcp, &[("10.96.0.2:80", 3)]));
    assert_eq!(served(&fake), [("10.96.0.2:80".to_owned(), 3)]);
    second.tick();
    let fake = fake.lock().unwrap();
    assert_eq!(fake.choices.len(), 3);
    assert!(fake.services.values().all(|service| service.set > 77), "a number is never used twice");
}

#[test]
fn a_change_writes_what_it_names_and_leaves_the_rest() {
    let (fake, mut table) = table(Limits::default());
    set(&mut table, &services(Protocol::Tcp, &[("10.0.0.1:80", 2), ("10.0.0.2:80", 2)]));
    let before = served(&fake);
    table.change(&services(Protocol::Tcp, &[("10.0.0.2:80", 3)]));
    let after = served(&fake);
    assert_eq!((before.len(), after.len(), &before[0]), (2, 2, &after[0]));
    assert_ne!(before[1], after[1]);
    let all = services(Protocol::Tcp, &[("10.0.0.1:80", 2), ("10.0.0.2:80", 3)]);
    assert_eq!(table.wanted, all);
}

#[test]
fn an_endpoint_that_went_while_no_agent_ran_is_lost() {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let (fake, mut first) = table(Limits::default());
        set(&mut first, &services(protocol, &[("10.96.0.1:80", 2), ("10.96.0.2:80", 3)]));
        drop(first);
        let mut second = again(&fake);
        let lost =
            |table: &ServiceTable, next: &Services| table.until(next).lost(next).0.into_keys().collect::<Vec<_>>();
        // Nothing is known yet, or that there is none.
        for next in [services(protocol, &[]), services(protocol, &[("10.96.0.1:80", 0), ("10.96.0.2:80", 0)])] {
            assert_eq!(lost(&second, &next), []);
            set(&mut second, &next);
        }
        // Whichever way it comes to be known.
        let one = services(protocol, &[("10.96.0.1:80", 1)]);
        assert_eq!(lost(&second, &one), [(protocol, "10.0.0.1:2".parse().unwrap())]);
        second.change(&one);
        assert_eq!(lost(&second, &one), []);
        let next = services(protocol, &[("10.96.0.1:80", 1), ("10.96.0.2:80", 2)]);
        assert_eq!(lost(&second, &next), [(protocol, "10.0.0.1:3".parse().unwrap())]);
        set(&mut second, &next);
        assert_eq!(lost(&second, &next), []);
        let fewer = services(protocol, &[("10.96.0.2:80", 1)]);
        assert_eq!(lost(&second, &fewer), [(protocol, "10.0.0.1:2".parse().unwrap())]);
    }
}

#[test]
fn no_agent_uses_a_number_again() {
    let (fake, mut first) = table(Limits::default());
    let one = |endpoints| services(Protocol::Udp, &[("10.96.0.1:53", endpoints)]);
    let mut remembered = 0;
    for endpoints in 1..3000 {
        set(&mut first, &one(endpoints % 3));
        remembered = fake.lock().unwrap().services.values().next().unwrap().set;
    }
    // A service that is gone leaves nothing behind.
    set(&mut first, &Services::default());
    first.tick();
    assert!(fake.lock().unwrap().choices.is_empty());
    // And somebody may take away what was noted.
    fake.lock().unwrap().reserved = 0;
    first.reconcile().unwrap();
    drop(first);
    set(&mut again(&fake), &one(1));
    assert!(fake.lock().unwrap().services.values().next().unwrap().set > remembered);
}
