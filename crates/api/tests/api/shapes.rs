//! The committed shapes are those that the generator writes.

use std::path::Path;
use std::process::Command;

#[test]
fn generated_shapes_are_committed_as_generated() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("python3").arg(root.join("tools/shapes/generate.py")).arg(folder.path()).output();
    let output = output.expect("python3 is needed for this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut compared = 0;
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        let committed = root.join("crates/api/src/shapes").join(file.file_name());
        let (new, old) = (std::fs::read_to_string(file.path()).unwrap(), std::fs::read_to_string(&committed).unwrap());
        assert!(new == old, "{} is not what tools/shapes/generate.py writes: run it", committed.display());
        compared += 1;
    }
    assert_eq!(compared, 8, "every generated file is compared");
}
