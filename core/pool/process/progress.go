//go:build unix

package process

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/pool"
)

// maxProgressChunk is how much of a progress file is read at a time. Of what comes faster, only the end counts.
const maxProgressChunk = 64 << 10

// followProgress reports what a handler appends to its progress file, until the returned function is called. That one reads
// the file a last time before it returns.
func followProgress(path string, task *pool.Task, mask *mask, log *slog.Logger) (stop func()) {
	r := &progressReader{path: path, task: task, mask: mask, log: log}
	stopping, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(progressInterval)
		defer ticker.Stop()
		for {
			select {
			case <-stopping:
				r.poll()
				return
			case <-ticker.C:
				r.poll()
			}
		}
	}()
	return func() {
		close(stopping)
		<-done
	}
}

type progressReader struct {
	path   string
	task   *pool.Task
	mask   *mask
	log    *slog.Logger
	offset int64 // everything before it has been read
	warned bool
}

// poll reports the progress that was added to the file since the last poll.
func (r *progressReader) poll() {
	chunk, err := r.next()
	if err != nil {
		r.warn("progress file not read", "error", err)
	}
	var latest pool.Progress
	found := false
	for line := range bytes.Lines(r.mask.bytes(chunk)) {
		var p pool.Progress
		if json.Unmarshal(line, &p) != nil || model.CheckJSON(line, model.MaxResultDepth) != nil {
			r.warn("line of a progress file is not a progress object", "line", string(line[:min(len(line), 100)]))
			continue
		}
		found = true
		if p.Percent != 0 {
			latest.Percent = p.Percent
		}
		if p.Message != "" {
			latest.Message = p.Message
		}
		if p.Params != nil {
			latest.Params = p.Params
		}
	}
	if found {
		r.task.Report(latest)
	}
}

// next returns the complete lines that were added.
func (r *progressReader) next() ([]byte, error) {
	file, err := openRegular(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // only read
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	size := info.Size()
	if size < r.offset { // written anew
		r.offset = 0
	}
	r.offset = max(r.offset, size-maxProgressChunk)
	chunk := make([]byte, size-r.offset)
	n, err := file.ReadAt(chunk, r.offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	chunk = chunk[:bytes.LastIndexByte(chunk[:n], '\n')+1]
	r.offset += int64(len(chunk))
	return chunk, nil
}

// warn logs the first thing that is wrong: a handler that writes nonsense may write a lot of it.
func (r *progressReader) warn(msg string, args ...any) {
	if !r.warned {
		r.warned = true
		r.log.Warn(msg, append(args, "agenda", r.task.AgendaID, "operation", r.task.Operation.Name)...)
	}
}
