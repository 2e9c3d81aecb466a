//! Tests of where streams run, and that no wake is lost.

use std::sync::atomic::AtomicUsize;

use tokio::sync::oneshot;

use super::*;

fn in_line<C: Future>(opened: Opened, connection: C) -> Connection<C> {
    Connection::new(opened, connection, &Line::new(1), Arc::default())
}

/// Ends after `left` polls, each of which calls `step`.
struct Polled<F> {
    left: usize,
    step: F,
}

impl<F: FnMut(&mut Context<'_>) + Unpin> Future for Polled<F> {
    type Output = usize;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
        if self.left == 0 {
            return Poll::Ready(7);
        }
        self.left -= 1;
        (self.step)(cx);
        Poll::Pending
    }
}

#[tokio::test]
async fn wake_while_polling_goes_round_and_comes_to_an_end() {
    let connection = Polled { left: 100, step: |cx: &mut Context<'_>| cx.waker().wake_by_ref() };
    assert_eq!(in_line(Opened::default(), connection).await, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn wake_from_another_thread_is_never_lost() {
    let connection = Polled {
        left: 20_000,
        step: |cx: &mut Context<'_>| {
            let waker = cx.waker().clone();
            tokio::spawn(async move { waker.wake() });
        },
    };
    let ended = tokio::spawn(in_line(Opened::default(), connection));
    let ended = tokio::time::timeout(std::time::Duration::from_secs(60), ended).await;
    assert_eq!(ended.expect("it is woken every time").expect("it runs"), 7);
}

#[tokio::test]
async fn streams_go_on_as_they_are_woken() {
    let opened = Opened::default();
    let done = Arc::new(AtomicUsize::new(0));
    let (go, gone) = oneshot::channel::<()>();
    let (finish, finished) = oneshot::channel::<()>();
    let (at_once, later) = (Arc::clone(&done), Arc::clone(&done));
    opened.execute(async move {
        at_once.fetch_add(1, Ordering::SeqCst);
    });
    opened.execute(async move {
        gone.await.expect("it is let go");
        later.fetch_add(10, Ordering::SeqCst);
        finish.send(()).expect("the connection waits for it");
    });
    let mut connection = Box::pin(in_line(opened, finished));
    let first = std::future::poll_fn(|cx| Poll::Ready(connection.as_mut().poll(cx)));
    assert!(first.await.is_pending());
    assert_eq!(done.load(Ordering::SeqCst), 1);
    go.send(()).expect("it is waited for");
    connection.await.expect("it is told");
    assert_eq!(done.load(Ordering::SeqCst), 11);
}

/// A connection that always has more to do lets others run in between.
#[tokio::test]
async fn busy_connection_gives_its_thread_back() {
    let opened = Opened::default();
    let executor = opened.clone();
    let busy = std::future::poll_fn(move |cx: &mut Context<'_>| {
        executor.execute(async { std::thread::sleep(std::time::Duration::from_millis(1)) });
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    });
    let others = tokio::time::sleep(std::time::Duration::from_millis(20));
    let both = async {
        tokio::select! {
            biased;
            () = in_line(opened, busy) => unreachable!("it never ends"),
            () = others => {}
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), both).await.expect("others get their turn");
}
