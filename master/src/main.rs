//! The command `understudy`.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    master::avoid_huge_pages();
    master::abort_on_panic();
    // Without that thread the allocator does it by itself.
    let _ = master::give_memory_back_aside();
    let code = master::cli::main();
    master::finish_log();
    code
}
