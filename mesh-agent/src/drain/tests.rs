//! Draining under paused time.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::drain::{Outcome, pair};

const TIMEOUT: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn nothing_active_finishes_at_once() {
    let (trigger, watcher) = pair();
    assert!(!watcher.draining());
    let begin = Instant::now();
    assert_eq!(trigger.finish(TIMEOUT).await, Outcome::Finished);
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert!(watcher.draining());
    watcher.ended().await;
}

#[tokio::test(start_paused = true)]
async fn waits_for_the_last_guard() {
    let (trigger, watcher) = pair();
    let begin = Instant::now();
    for seconds in [3, 7, 5] {
        let (active, signaled) = (watcher.active(), watcher.signaled());
        tokio::spawn(async move {
            signaled.await;
            sleep(Duration::from_secs(seconds)).await;
            drop(active);
        });
    }
    assert_eq!(trigger.finish(TIMEOUT).await, Outcome::Finished);
    assert_eq!(begin.elapsed(), Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn deadline_is_hard() {
    let (trigger, watcher) = pair();
    let _one = watcher.active();
    let _two = watcher.active();
    let begin = Instant::now();
    assert_eq!(trigger.finish(TIMEOUT).await, Outcome::DeadlinePassed { left: 2 });
    assert_eq!(begin.elapsed(), TIMEOUT);
    watcher.ended().await;
}

#[tokio::test(start_paused = true)]
async fn second_signal_cuts() {
    let (trigger, watcher) = pair();
    let _active = watcher.active();
    let second = trigger.clone();
    tokio::spawn(async move {
        sleep(Duration::from_secs(2)).await;
        second.end();
    });
    let begin = Instant::now();
    assert_eq!(trigger.finish(TIMEOUT).await, Outcome::Cut { left: 1 });
    assert_eq!(begin.elapsed(), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn starting_twice_is_starting_once() {
    let (trigger, watcher) = pair();
    trigger.end();
    trigger.start();
    watcher.ended().await;
    watcher.signaled().await;
}

#[test]
fn guards_on_other_threads_count() {
    let (trigger, watcher) = pair();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let watcher = watcher.clone();
            std::thread::spawn(move || {
                for _ in 0..1000 {
                    drop(watcher.active());
                }
                watcher.active()
            })
        })
        .collect();
    let guards: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
    assert_eq!(trigger.active(), 4);
    drop(guards);
    assert_eq!(trigger.active(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_steered_is_accepted_until_it_is_told_that_nothing_comes() {
    let (trigger, watcher) = pair();
    let listener = watcher.active();
    let closing = tokio::spawn(async move {
        watcher.closing().await;
        drop(listener);
        Instant::now()
    });
    let (begin, second) = (Instant::now(), trigger.clone());
    tokio::spawn(async move {
        sleep(Duration::from_secs(2)).await;
        second.close();
    });
    assert_eq!(trigger.finish(TIMEOUT).await, Outcome::Finished);
    assert_eq!(closing.await.expect("no panic") - begin, Duration::from_secs(2));
}
