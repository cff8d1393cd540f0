//! Embeds the console: what `console/dist` holds, compressed, or a page that says that it was not built.
//!
//! Never runs npm and never asks the network: whoever has no Node builds the service all the same. `console/dist` is
//! there in every checkout (it holds a `.gitignore`), so that cargo notices when something is built into it.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A file to embed.
struct File {
    /// Below `/console/`.
    path: String,
    bytes: Vec<u8>,
}

fn main() -> io::Result<()> {
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let dist = manifest.join("../../console/dist");
    let out = PathBuf::from(variable("OUT_DIR"));
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/serve/console/placeholder.html");
    if dist.is_dir() {
        println!("cargo:rerun-if-changed={}", dist.display());
    }
    let mut files = vec![];
    if dist.join("index.html").is_file() {
        gather(&dist, &dist, &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
    } else {
        println!("cargo:warning=the console is not built: godwit serve shows a page that says so");
        let page = fs::read(manifest.join("src/serve/console/placeholder.html"))?;
        files.push(File { path: "index.html".to_owned(), bytes: page });
    }
    // The best compression takes minutes where nothing is optimised; who develops does not transfer much.
    let quality = if variable("PROFILE") == "release" { 11 } else { 5 };
    let mut table = String::from("&[\n");
    for (n, file) in files.iter().enumerate() {
        embed(&out, n, file, quality, &mut table)?;
    }
    table.push_str("]\n");
    fs::write(out.join("console.rs"), table)
}

#[expect(clippy::disallowed_methods, reason = "cargo tells build scripts by their environment")]
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

fn gather(root: &Path, folder: &Path, found: &mut Vec<File>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if is_hidden {
            continue;
        }
        if path.is_dir() {
            gather(root, &path, found)?;
        } else {
            let below = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            found.push(File { path: below, bytes: fs::read(&path)? });
        }
    }
    Ok(())
}

/// Writes the file in all its forms, and its row of the table.
fn embed(out: &Path, n: usize, file: &File, quality: u32, table: &mut String) -> io::Result<()> {
    let form = |suffix: &str, bytes: &[u8]| -> io::Result<String> {
        let path = out.join(format!("console-{n}{suffix}"));
        fs::write(&path, bytes)?;
        Ok(format!("include_bytes!({:?})", path.display().to_string()))
    };
    // A form that is hardly smaller only costs the browser time.
    let worth = |packed: &[u8]| packed.len() * 20 < file.bytes.len() * 19;
    let packed = |suffix: &str, bytes: Vec<u8>| -> io::Result<String> {
        if worth(&bytes) { Ok(format!("Some({})", form(suffix, &bytes)?)) } else { Ok("None".to_owned()) }
    };
    let plain = form("", &file.bytes)?;
    let brotli = packed(".br", brotli(&file.bytes, quality)?)?;
    let gzip = packed(".gz", gzip(&file.bytes)?)?;
    let mut hasher = DefaultHasher::new();
    file.bytes.hash(&mut hasher);
    let _ = writeln!(
        table,
        "File {{ path: {:?}, tag: \"{:016x}\", plain: {plain}, brotli: {brotli}, gzip: {gzip} }},",
        file.path,
        hasher.finish()
    );
    Ok(())
}

fn brotli(bytes: &[u8], quality: u32) -> io::Result<Vec<u8>> {
    let mut writer = brotli::CompressorWriter::new(vec![], 1 << 16, quality, 22);
    writer.write_all(bytes)?;
    writer.flush()?;
    Ok(writer.into_inner())
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut writer = flate2::write::GzEncoder::new(vec![], flate2::Compression::best());
    writer.write_all(bytes)?;
    writer.finish()
}
