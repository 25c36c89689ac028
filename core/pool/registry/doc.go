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
//	    limits: {memory: 2GiB, cpu: 20m, openFiles: 256, fileSize: 10GiB}
//	    secrets: {API_KEY: {file: /run/secrets/api-key}, DB_PASSWORD: {env: DB_PASSWORD}}
//
// A command with a slash and a workDir are relative to the file's folder; other commands are looked up in PATH. What an entry
// leaves out comes from defaults; env, passEnv, limits and secrets add to those of defaults. The file is read again when it changes.
//
// It imports core/model and a YAML reader, and must not import core/pool or know how handlers are run.
package registry
