// Package registry maps operation types to handlers. It reads a file, in YAML or JSON, of the form
//
//	defaults: {timeout: 5m, passEnv: [HOME]}
//	handlers:
//	  media.transcode:
//	    command: [./transcode.sh, --fast]
//	    env: {PRESET: fast}
//	    passEnv: [AWS_REGION]
//	    timeout: 30m
//	    grace: 20s
//	    workDir: /srv/media
//
// A command with a slash and a workDir are relative to the file's folder; other commands are looked up in PATH. What an entry
// leaves out comes from defaults; env and passEnv add to those of defaults. The file is read again when it changes.
//
// It imports core/model and a YAML reader, and must not import core/pool or know how handlers are run.
package registry
