//! For tests: nothing but the shim, as `main` of a real binary would call it.

fn main() {
    runtime::shim::run_if_shim();
    eprintln!("this binary is a shim only");
    std::process::exit(2);
}
