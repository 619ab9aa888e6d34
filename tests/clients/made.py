# SPDX-License-Identifier: MIT
"""What tests/clients/packaged runs: a root for guests, programs of fixed versions, an installed userkvm."""
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile


def skip(why):
    print(f"cannot be tried here: {why}")
    sys.exit(77)


def run(*words, **more):
    return subprocess.run(words, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False, **more)


def need(*programs):
    for p in programs:
        if not shutil.which(p):
            skip(f"needs {p}")


def had(result):
    if result.returncode:
        skip(result.stdout)


def pip(directory, *packages):
    """Into `directory`, for PYTHONPATH. What they depend on they name."""
    had(run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", directory, *packages))


def npm(directory, *packages):
    need("npm", "node")
    had(run("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", directory, *packages))


def root(directory):
    """A root directory with a static busybox and nothing else."""
    need("busybox")
    for d in ("bin", "etc", "proc", "sys", "dev", "tmp", "root", "usr", "var", "run", "sbin"):
        os.makedirs(os.path.join(directory, d))
    busybox = shutil.copy(shutil.which("busybox"), os.path.join(directory, "bin"))
    if run("ldd", busybox).returncode == 0:
        skip("needs a static busybox")
    for name in run(busybox, "--list").stdout.split():
        if name != "busybox":
            os.symlink("busybox", os.path.join(directory, "bin", name))
    with open(os.path.join(directory, "etc/passwd"), "w", encoding="ascii") as f:
        f.write("root:x:0:0:root:/root:/bin/sh\n")
    return directory


def image(directory, layer_of):
    """An OCI image layout of one layer, which is a root directory."""
    blobs = os.path.join(directory, "blobs", "sha256")
    os.makedirs(blobs)

    def blob(content):
        digest = hashlib.sha256(content).hexdigest()
        with open(os.path.join(blobs, digest), "wb") as f:
            f.write(content)
        return {"digest": f"sha256:{digest}", "size": len(content)}

    def put(value):
        return blob(json.dumps(value).encode())

    kind = "application/vnd.oci.image."
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as f:
        f.add(layer_of, arcname=".")
    layer = {"mediaType": f"{kind}layer.v1.tar+gzip", **blob(gzip.compress(archive.getvalue(), 1))}
    config = {"mediaType": f"{kind}config.v1+json", **put({
        "architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers",
                   "diff_ids": [f"sha256:{hashlib.sha256(archive.getvalue()).hexdigest()}"]}})}
    manifest = {"mediaType": f"{kind}manifest.v1+json", **put({
        "schemaVersion": 2, "mediaType": f"{kind}manifest.v1+json", "config": config, "layers": [layer]})}
    for name, value in (("index.json", {"schemaVersion": 2, "manifests": [manifest]}),
                        ("oci-layout", {"imageLayoutVersion": "1.0.0"})):
        with open(os.path.join(directory, name), "w", encoding="ascii") as f:
            json.dump(value, f)
    return directory


def installed(build, place="/usr/local/include"):
    """A userkvm below /usr, which sandboxes show to what they start; in a mount namespace of our own."""
    if os.geteuid():
        skip("needs root, to install userkvm in a mount namespace")
    if run("mount", "-t", "tmpfs", "userkvm", place).returncode:
        skip("needs a mount namespace, which this user may not make")
    r = run("meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", place)
    if r.returncode:
        sys.exit(r.stdout)
    return run("find", place, "-path", "*/bin/userkvm").stdout.strip()
