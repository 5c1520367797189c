//! Finds libgptq: in `GPTQ_LIB_DIR` if that is set, else where pkg-config says.
//! Dependents read its folder as `DEP_GPTQ_LIBDIR` in their own build scripts, for a run path.
use std::env;
use std::process::{exit, Command};

const WANTED: &str = "gptq >= 0.1.0";
const ENVIRONMENT: [&str; 5] =
    ["GPTQ_LIB_DIR", "PKG_CONFIG", "PKG_CONFIG_PATH", "PKG_CONFIG_LIBDIR", "PKG_CONFIG_SYSROOT_DIR"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for name in ENVIRONMENT {
        println!("cargo:rerun-if-env-changed={name}");
    }
    if env::var_os("DOCS_RS").is_some() {
        return; // documentation links nothing
    }
    if let Some(folder) = env::var_os("GPTQ_LIB_DIR") {
        let folder = folder.into_string().expect("GPTQ_LIB_DIR is not UTF-8");
        println!("cargo:rustc-link-search=native={folder}");
        println!("cargo:rustc-link-lib=gptq");
        println!("cargo:libdir={folder}");
        return;
    }
    for flag in words(&pkg_config(&["--libs", WANTED])) {
        if let Some(folder) = flag.strip_prefix("-L") {
            println!("cargo:rustc-link-search=native={folder}");
        } else if let Some(name) = flag.strip_prefix("-l") {
            println!("cargo:rustc-link-lib={name}");
        }
    }
    println!("cargo:libdir={}", pkg_config(&["--variable=libdir", "gptq"]).trim());
}

fn pkg_config(arguments: &[&str]) -> String {
    let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".to_owned());
    let problem = match Command::new(&program).arg("--print-errors").args(arguments).output() {
        Ok(output) if output.status.success() => return String::from_utf8_lossy(&output.stdout).into_owned(),
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    eprintln!("{program} {arguments:?}: {problem}");
    eprintln!("gptq-sys needs libgptq 0.1 and its gptq.pc: install it, or set PKG_CONFIG_PATH or GPTQ_LIB_DIR");
    exit(1)
}

/// Cut at blanks; a backslash keeps the character after it.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), String::new());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => word.extend(characters.next()),
            c if c.is_whitespace() => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}
