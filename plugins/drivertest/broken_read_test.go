package drivertest_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
)

type scanner = func(context.Context, driver.ScanRequest) (driver.ScanResponse, error)

// shown returns hooks that change what scans of the primary key show.
func shown(change func(driver.ScanRequest, *driver.ScanResponse)) func(storeRig) storeHooks {
	return func(storeRig) storeHooks {
		return storeHooks{scan: after(func(req driver.ScanRequest, page *driver.ScanResponse) {
			if req.Index == "" {
				change(req, page)
			}
		})}
	}
}

// byOffset returns a hook that pages by the number of records before, when a page may have more than least.
func byOffset(least int) func(storeRig) storeHooks {
	return func(storeRig) storeHooks {
		return storeHooks{scan: func(ctx context.Context, req driver.ScanRequest, next scanner) (driver.ScanResponse, error) {
			if req.Index != "" || req.Limit <= least {
				return next(ctx, req)
			}
			limit := min(req.Limit, memdriver.FullStore().MaxScanLimit)
			offset, _ := strconv.Atoi(req.Cursor)
			all, err := everything(ctx, req, next)
			if err != nil {
				return driver.ScanResponse{}, err
			}
			rest := all[min(offset, len(all)):]
			if len(rest) > limit {
				return driver.ScanResponse{Records: rest[:limit], Next: strconv.Itoa(offset + limit)}, nil
			}
			return driver.ScanResponse{Records: rest}, nil
		}}
	}
}

// everything returns the records of all pages of a range.
func everything(ctx context.Context, req driver.ScanRequest, next scanner) ([]driver.Record, error) {
	var all []driver.Record
	for req.Cursor, req.Limit = "", 0; ; {
		page, err := next(ctx, req)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Records...)
		if req.Cursor = page.Next; req.Cursor == "" {
			return all, nil
		}
	}
}

// staleScan returns a hook that answers some scans of a range as they were answered at another time.
func staleScan(which func(n int) (again int, stale bool)) func(storeRig) storeHooks {
	return func(storeRig) storeHooks {
		var mu sync.Mutex
		answers := map[driver.ScanRequest][]driver.ScanResponse{}
		return storeHooks{scan: after(func(req driver.ScanRequest, page *driver.ScanResponse) {
			mu.Lock()
			defer mu.Unlock()
			answers[req] = append(answers[req], *page)
			if again, stale := which(len(answers[req])); stale {
				*page = answers[req][again]
			}
		})}
	}
}

var brokenReads = map[string]storeFlaw{
	"changes its mind about what it can do": {
		clause: "capabilities are the declared ones",
		hooks: func(storeRig) storeHooks {
			asked := 0
			return storeHooks{capabilities: func(c driver.StoreCapabilities) driver.StoreCapabilities {
				if asked++; asked > 1 {
					c.MaxScanLimit++
				}
				return c
			}}
		},
	},
	"declares what makes no sense": {
		clause: "capabilities have the minimum that every store has",
		options: memdriver.StoreOptions{Capabilities: driver.StoreCapabilities{
			MaxRecordBytes: 64 << 10, MaxGroupOps: 10, MaxScanLimit: 100, ReturnsCurrent: true, ExpiryLag: -1,
		}},
	},
	"takes bodies for text": {
		clause: "Get returns what Put wrote",
		hooks: func(storeRig) storeHooks {
			return storeHooks{write: editing(func(op *driver.Op) { op.Record.Body = []byte(strings.ToValidUTF8(string(op.Record.Body), "?")) })}
		},
	},
	"wants a body": {
		clause: "Get of a record without body, index and expiry",
		hooks: func(storeRig) storeHooks {
			return storeHooks{write: refusingOps(driver.Invalid, func(op driver.Op) bool { return op.Type == driver.Put && len(op.Record.Body) == 0 })}
		},
	},
	"reads a key that is named twice once": {
		clause: "Get has one entry per key, in order, nil for an absent one",
		hooks: func(storeRig) storeHooks {
			return storeHooks{get: func(ctx context.Context, req driver.GetRequest, next func(context.Context, driver.GetRequest) (driver.GetResponse, error)) (driver.GetResponse, error) {
				var keys []driver.Key
				for _, k := range req.Keys {
					if !slices.Contains(keys, k) {
						keys = append(keys, k)
					}
				}
				return next(ctx, driver.GetRequest{Keys: keys})
			}}
		},
	},
	"wants a key": {
		clause: "Get of no keys",
		hooks:  refusingGets(func(n int) bool { return n == 0 }),
	},
	"does not split a Get": {
		clause: "Get of 1,000 keys",
		hooks:  refusingGets(func(n int) bool { return n > 500 }),
	},
	"answers no more than 4 MiB": {
		clause: "Get of 200 large records",
		hooks: func(storeRig) storeHooks {
			return storeHooks{get: func(ctx context.Context, req driver.GetRequest, next func(context.Context, driver.GetRequest) (driver.GetResponse, error)) (driver.GetResponse, error) {
				resp, err := next(ctx, req)
				size := 0
				for _, r := range resp.Records {
					if r != nil {
						size += len(r.Body)
					}
				}
				if size > 4<<20 {
					return driver.GetResponse{}, driver.Errorf(driver.Unavailable, "get", "message larger than max")
				}
				return resp, err
			}}
		},
	},
	"reads a replica now and then": {
		clause: "Get sees every acknowledged write at once",
		may:    []string{"a reader never sees less than what was acknowledged before"},
		hooks: func(storeRig) storeHooks {
			var mu sync.Mutex
			answers := map[driver.Key][]*driver.Record{}
			return storeHooks{get: after(func(req driver.GetRequest, resp *driver.GetResponse) {
				mu.Lock()
				defer mu.Unlock()
				for i, k := range req.Keys {
					answers[k] = append(answers[k], resp.Records[i])
					if n := len(answers[k]); n%30 == 0 {
						resp.Records[i] = answers[k][n-2]
					}
				}
			})}
		},
	},
	"does not quote": {
		clause: "keys are any UTF-8",
		hooks: func(storeRig) storeHooks {
			return storeHooks{write: refusingOps(driver.Internal, func(op driver.Op) bool { return strings.Contains(op.Record.Key.Part, "DROP TABLE") })}
		},
	},
	"puts keys together with a colon": {
		clause: "keys that look alike are different",
		also:   []string{"Scan shows one part of one kind only"},
		hooks: func(storeRig) storeHooks {
			same := func(k driver.Key) driver.Key {
				if k.Part == "a:b" && k.Sort == "c" {
					k.Part, k.Sort = "a", "b:c"
				}
				return k
			}
			return storeHooks{
				write: editing(func(op *driver.Op) { op.Record.Key = same(op.Record.Key) }),
				get: func(ctx context.Context, req driver.GetRequest, next func(context.Context, driver.GetRequest) (driver.GetResponse, error)) (driver.GetResponse, error) {
					var keys []driver.Key
					for _, k := range req.Keys {
						keys = append(keys, same(k))
					}
					return next(ctx, driver.GetRequest{Keys: keys})
				},
			}
		},
	},
	"takes a bad key for an absent one": {
		clause: "keys that break a rule are Invalid",
		hooks: func(storeRig) storeHooks {
			return storeHooks{get: forgiving[driver.GetRequest, driver.GetResponse](isInvalid)}
		},
	},
	"hands out its own memory": {
		clause: "values belong to the caller after the call",
		hooks: func(storeRig) storeHooks {
			var mine sync.Map
			return storeHooks{get: after(func(_ driver.GetRequest, resp *driver.GetResponse) {
				for i, r := range resp.Records {
					if r != nil {
						first, _ := mine.LoadOrStore(r.Version, r)
						resp.Records[i] = first.(*driver.Record)
					}
				}
			})}
		},
	},
	"does not know a kind without records": {
		clause: "Scan of an empty range",
		hooks: func(rig storeRig) storeHooks {
			return storeHooks{scan: refusing[driver.ScanRequest, driver.ScanResponse](func(req driver.ScanRequest) error {
				if req.Kind == "beta" && rig.raw.Len() == 1 {
					return driver.Errorf(driver.Invalid, "scan", "no such kind")
				}
				return nil
			})}
		},
	},
	"scans without expiry": {
		clause: "Scan returns whole records",
		hooks: shown(func(_ driver.ScanRequest, page *driver.ScanResponse) {
			for i := range page.Records {
				page.Records[i].ExpireAt = time.Time{}
			}
		}),
	},
	"mixes kinds": {
		clause: "Scan shows one part of one kind only",
		hooks: func(rig storeRig) storeHooks {
			return storeHooks{scan: after(func(req driver.ScanRequest, page *driver.ScanResponse) {
				if req.Kind == "alpha" && req.Index == "" && req.Cursor == "" {
					req.Kind = "beta"
					if more, err := rig.raw.Scan(context.Background(), req); err == nil && len(page.Records) < 100 {
						page.Records = append(page.Records, more.Records...)
					}
				}
			})}
		},
	},
	"scans a replica now and then": {
		clause: "Scan sees every acknowledged write at once",
		may:    []string{"a reader never sees less than what was acknowledged before"},
		hooks:  staleScan(func(n int) (int, bool) { return n - 2, n == 10 }),
	},
	"scans the oldest replica now and then": {
		clause: "a reader never sees less than what was acknowledged before",
		hooks: func(rig storeRig) storeHooks {
			h := staleScan(func(n int) (int, bool) { return 0, n%3 == 0 })(rig)
			stale := h.scan
			h.scan = func(ctx context.Context, req driver.ScanRequest, next scanner) (driver.ScanResponse, error) {
				if rig.raw.Len() != 1 { // so that only what reads one record over and over will notice
					return next(ctx, req)
				}
				return stale(ctx, req, next)
			}
			return h
		},
	},
	"ignores case in the order": {
		clause: "Scan is in bytewise order, both ways",
		hooks: shown(func(_ driver.ScanRequest, page *driver.ScanResponse) {
			slices.SortStableFunc(page.Records, func(a, b driver.Record) int {
				return cmp.Compare(strings.ToLower(a.Key.Sort), strings.ToLower(b.Key.Sort))
			})
		}),
		also: []string{
			"Scan ranges are half open, both ways", "Scan pages go on where they were while records come and go",
		},
	},
	"takes To for inclusive when it goes back": {
		clause: "Scan ranges are half open, both ways",
		hooks: func(storeRig) storeHooks {
			return storeHooks{scan: func(ctx context.Context, req driver.ScanRequest, next scanner) (driver.ScanResponse, error) {
				if req.Reverse && req.Index == "" && req.To > req.From {
					req.To += "\x01"
				}
				return next(ctx, req)
			}}
		},
	},
	"does not cut a limit": {
		clause: "Scan pages have no more than Limit and MaxScanLimit records",
		hooks: func(storeRig) storeHooks {
			return storeHooks{scan: func(ctx context.Context, req driver.ScanRequest, next scanner) (driver.ScanResponse, error) {
				if req.Limit <= memdriver.FullStore().MaxScanLimit {
					return next(ctx, req)
				}
				all, err := everything(ctx, req, next)
				return driver.ScanResponse{Records: all}, err
			}}
		},
	},
	"ends a scan after a megabyte": {
		clause: "Scan of large records returns all of them",
		hooks: shown(func(_ driver.ScanRequest, page *driver.ScanResponse) {
			size := 0
			for i, r := range page.Records {
				if size += len(r.Body); size > 1<<20 {
					page.Records, page.Next = page.Records[:i], ""
					return
				}
			}
		}),
	},
	"pages by offset": {
		clause: "Scan pages go on where they were while records come and go",
		hooks:  byOffset(3),
		may:    []string{"a scan under concurrent writes misses nothing old and repeats nothing"},
	},
	"pages by offset if pages are long": {
		clause: "a scan under concurrent writes misses nothing old and repeats nothing",
		hooks: func(rig storeRig) storeHooks {
			h := byOffset(10)(rig)
			var put atomic.Int64 // of those that the clause writes during scans
			h.write = after(func(req driver.WriteRequest, _ *driver.WriteResponse) {
				if len(req.Groups) == 1 && strings.Contains(only(req.Groups[0]).Record.Key.Sort, "+") {
					put.Add(1)
				}
			})
			page := h.scan
			h.scan = func(ctx context.Context, req driver.ScanRequest, next scanner) (driver.ScanResponse, error) {
				if before := put.Load(); before > 0 && req.Cursor != "" { // a busy machine may let nobody write between two pages
					for end := time.Now().Add(time.Second); put.Load() == before && time.Now().Before(end); {
						<-time.After(time.Millisecond)
					}
				}
				return page(ctx, req, next)
			}
			return h
		},
	},
	"binds a cursor to its limit": {
		clause: "Scan goes on from a cursor with another Limit",
		hooks: func(storeRig) storeHooks {
			return storeHooks{scan: func(ctx context.Context, req driver.ScanRequest, next scanner) (driver.ScanResponse, error) {
				prefix := fmt.Sprint(req.Limit, "/")
				var bound bool
				if req.Cursor, bound = strings.CutPrefix(req.Cursor, prefix); !bound && req.Cursor != "" {
					return driver.ScanResponse{}, driver.Errorf(driver.Invalid, "scan", "the cursor is not of this scan")
				}
				page, err := next(ctx, req)
				if page.Next != "" {
					page.Next = prefix + page.Next
				}
				return page, err
			}}
		},
	},
	"finds nothing where nothing can be": {
		clause: "Scan of what breaks a rule is Invalid",
		hooks: func(storeRig) storeHooks {
			return storeHooks{scan: forgiving[driver.ScanRequest, driver.ScanResponse](isInvalid)}
		},
	},
}

func refusingGets(refuse func(keys int) bool) func(storeRig) storeHooks {
	return func(storeRig) storeHooks {
		return storeHooks{get: refusing[driver.GetRequest, driver.GetResponse](func(req driver.GetRequest) error {
			if refuse(len(req.Keys)) {
				return driver.Errorf(driver.Invalid, "get", "%d keys", len(req.Keys))
			}
			return nil
		})}
	}
}
