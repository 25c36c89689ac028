package model

import "time"

// LogChunk is a piece of what an attempt of an operation printed: whole lines, or a part of a long one.
type LogChunk struct {
	Lease
	Operation string    `json:"operation" doc:"Name of the operation."`
	Attempt   int       `json:"attempt" doc:"1 for the first attempt of the operation."`
	Seq       int64     `json:"seq" minimum:"1" doc:"Grows with each chunk of the run."`
	Offset    int64     `json:"offset" minimum:"0" doc:"How many bytes the attempt had printed before. What is missing between two chunks, or before the first, was dropped."`
	Time      time.Time `json:"time"`
	Text      string    `json:"text"`
}

// LogAppend is a chunk to be kept, from the executor that has the lease.
type LogAppend struct {
	LogChunk
	SessionID string  `json:"sessionId"`
	Drop      []int64 `json:"drop,omitempty" maxItems:"1000" doc:"Chunks of the run that are not kept any longer, by their seq."`
}

// LogRequest asks for chunks of an agenda, in the order in which they were printed. Zero values do not restrict.
type LogRequest struct {
	Operation string
	After     string        // Next of an earlier page
	Limit     int           // most chunks
	Wait      time.Duration // for a chunk, if there is none
}

// LogPage is the answer to a [LogRequest].
type LogPage struct {
	Items    []LogChunk `json:"items"`
	Next     string     `json:"next,omitempty" doc:"Where to go on: what comes after this page, now or later. Absent if there is nothing yet."`
	Complete bool       `json:"complete" doc:"The agenda is COMPLETE. What was printed last may follow within a second or two."`
}

// MaxLogText is the longest text of a [LogChunk], in bytes.
const MaxLogText = 32 << 10
