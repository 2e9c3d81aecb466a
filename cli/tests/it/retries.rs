//! One run for each request number, whichever transport a retry uses.

use proto::v1::session_request::Call;
use proto::v1::*;

use crate::support::requests::{Client, segment};
use crate::support::start;
use crate::support::wire::answer;

#[tokio::test(flavor = "multi_thread")]
async fn retry_gets_the_same_answer_and_another_body_is_refused() {
    let node = start().await;
    let (mut session, mut unary) = (node.session().await, node.unary().await);
    let client = Client::new(1);
    answer!(MountSegment, session.call(client.mount(vec![segment(1, 1 << 20)])));
    let start = client.put_start(&["a", "b"], 1000);
    let first = answer!(PutStart, session.call(Call::PutStart(start.clone())));
    let again = answer!(PutStart, unary.call(Call::PutStart(start.clone())));
    assert_eq!(again.results, first.results);
    assert_eq!(again.segments, first.segments);

    let other = PutStartRequest { items: start.items[..1].to_vec(), ..start.clone() };
    for wire in [&mut session, &mut unary] {
        let refused = wire.call(Call::PutStart(other.clone())).await.expect_err("it is another request");
        assert_eq!(refused.reason(), Reason::RequestReused);
        assert_eq!(refused.code, tonic::Code::InvalidArgument as i32);
    }

    let number = start.caller.as_ref().expect("it has one").request_number;
    let mut end = client.put_end(&["a"]);
    let caller = end.caller.as_mut().expect("it has one");
    caller.answered_below = caller.request_number;
    answer!(PutEnd, session.call(Call::PutEnd(end)));
    let forgotten = unary.call(Call::PutStart(start)).await.expect_err("its answer is forgotten");
    assert_eq!(forgotten.reason(), Reason::RequestExpired);
    assert!(forgotten.message.contains(&format!("request number {number} is forgotten")), "{}", forgotten.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_one_request_run_once_between_them() {
    let node = start().await;
    let client = Client::new(1);
    let mut wires = vec![node.session().await, node.unary().await, node.session().await, node.unary().await];
    answer!(MountSegment, wires[0].call(client.mount(vec![segment(1, 64 << 20)])));
    let keys: Vec<String> = (0..900).map(|at| format!("key{at}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let start = client.put_start(&keys, 64);
    let copies = wires.drain(..).map(|mut wire| {
        let call = Call::PutStart(start.clone());
        tokio::spawn(async move { answer!(PutStart, wire.call(call)).results })
    });
    let copies: Vec<_> = copies.collect();
    let mut answers = Vec::new();
    for copy in copies {
        answers.push(copy.await.expect("it is answered"));
    }
    assert!(answers.iter().all(|answer| answer == &answers[0]));
    assert!(answers[0].iter().all(|result| result.refusal.is_none()));
    assert_eq!(node.node.state().totals().objects, 900);
}
