package drivertest_test

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/pop-platform/pop/plugins/driver"
)

// found returns hooks that change what scans of an index find.
func found(change func(driver.ScanRequest, *driver.ScanResponse)) func(storeRig) storeHooks {
	return func(storeRig) storeHooks {
		return storeHooks{scan: after(func(req driver.ScanRequest, page *driver.ScanResponse) {
			if req.Index != "" {
				change(req, page)
			}
		})}
	}
}

// ghosts are entries that an index shows and that no record has.
type ghosts struct {
	mu      sync.Mutex
	entries map[driver.IndexEntry]driver.Key
}

func (g *ghosts) add(e driver.IndexEntry, k driver.Key) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.entries[e] = k
}

// haunted returns hooks that show ghosts, which appear after a group was written or refused.
func haunted(appear func(rig storeRig, g *ghosts, group driver.Group, before []*driver.Record, res driver.WriteResult)) func(storeRig) storeHooks {
	return func(rig storeRig) storeHooks {
		g := &ghosts{entries: map[driver.IndexEntry]driver.Key{}}
		return storeHooks{
			write: func(ctx context.Context, req driver.WriteRequest, next writer) (driver.WriteResponse, error) {
				before := make([][]*driver.Record, len(req.Groups))
				for i, group := range req.Groups {
					for _, op := range group {
						before[i] = append(before[i], getOne(ctx, rig.raw, op.Record.Key))
					}
				}
				resp, err := next(ctx, req)
				for i, res := range resp.Results {
					appear(rig, g, req.Groups[i], before[i], res)
				}
				return resp, err
			},
			scan: after(func(req driver.ScanRequest, page *driver.ScanResponse) {
				g.mu.Lock()
				defer g.mu.Unlock()
				for e, k := range g.entries {
					if e.Index == req.Index && e.Part == req.Part && page.Next == "" {
						page.Records = append(page.Records, driver.Record{Key: k, Index: []driver.IndexEntry{e}})
					}
				}
			}),
		}
	}
}

var brokenIndexes = map[string]storeFlaw{
	"leaves an entry in the part that a record has left": {
		clause: "index: a record enters, moves and leaves",
		hooks: haunted(func(_ storeRig, g *ghosts, group driver.Group, before []*driver.Record, res driver.WriteResult) {
			for i, op := range group {
				if res.Err == nil && before[i] != nil && len(before[i].Index) == 1 && len(op.Record.Index) == 1 &&
					before[i].Index[0].Part != op.Record.Index[0].Part {
					g.add(before[i].Index[0], op.Record.Key)
				}
			}
		}),
	},
	"leaves the entry of a deleted record": {
		clause: "index: a deleted record leaves",
		also:   []string{"acknowledged writes are there after a restart, unless the store is declared volatile"},
		hooks: haunted(func(_ storeRig, g *ghosts, group driver.Group, before []*driver.Record, res driver.WriteResult) {
			for i, op := range group {
				if res.Err == nil && op.Type == driver.Delete && op.Cond == driver.Always && before[i] != nil && len(before[i].Index) > 0 {
					g.add(before[i].Index[0], op.Record.Key)
				}
			}
		}),
	},
	"returns versions from an index": {
		clause: "index: a scan returns keys and the entry, no more",
		hooks: found(func(_ driver.ScanRequest, page *driver.ScanResponse) {
			for i := range page.Records {
				page.Records[i].Version = "1"
			}
		}),
	},
	"finds in one index what is in another": {
		clause: "index: the indexes of a record and of a kind are apart",
		hooks: func(rig storeRig) storeHooks {
			return storeHooks{scan: func(ctx context.Context, req driver.ScanRequest, next scanner) (driver.ScanResponse, error) {
				page, err := next(ctx, req)
				if req.Index == "two" {
					req.Index = "one"
					if more, err := next(ctx, req); err == nil {
						page.Records = append(page.Records, more.Records...)
					}
				}
				return page, err
			}}
		},
	},
	"finds one record for each entry": {
		clause: "index: records with the same entry are all returned, once",
		also:   []string{"index: the indexes of a record and of a kind are apart"},
		hooks: found(func(_ driver.ScanRequest, page *driver.ScanResponse) {
			page.Records = slices.CompactFunc(page.Records, func(a, b driver.Record) bool { return a.Index[0] == b.Index[0] })
		}),
	},
	"ignores case in the order of an index": {
		clause: "index: scans are in bytewise order, both ways",
		also:   []string{"index: ranges are half open, both ways"},
		hooks: found(func(_ driver.ScanRequest, page *driver.ScanResponse) {
			slices.SortStableFunc(page.Records, func(a, b driver.Record) int {
				return cmp.Compare(strings.ToLower(a.Index[0].Sort), strings.ToLower(b.Index[0].Sort))
			})
		}),
	},
	"does not quote the parts of an index": {
		clause: "index: parts are any UTF-8",
		hooks: func(storeRig) storeHooks {
			return storeHooks{write: refusingOps(driver.Internal, func(op driver.Op) bool {
				return slices.ContainsFunc(op.Record.Index, func(e driver.IndexEntry) bool { return strings.Contains(e.Part, "DROP TABLE") })
			})}
		},
	},
	"takes To for inclusive when it goes back in an index": {
		clause: "index: ranges are half open, both ways",
		hooks: func(storeRig) storeHooks {
			return storeHooks{scan: func(ctx context.Context, req driver.ScanRequest, next scanner) (driver.ScanResponse, error) {
				if req.Reverse && req.Index != "" && req.To > req.From {
					req.To += "\x01"
				}
				return next(ctx, req)
			}}
		},
	},
	"indexes what it then refuses": {
		clause: "index: a group that conflicts leaves it as it was",
		hooks: haunted(func(_ storeRig, g *ghosts, group driver.Group, _ []*driver.Record, res driver.WriteResult) {
			for _, op := range group {
				if res.Err != nil && len(op.Record.Index) > 0 {
					g.add(op.Record.Index[0], op.Record.Key)
				}
			}
		}),
	},
	"leaves out entries that break a rule": {
		clause: "index: an entry that breaks a rule is Invalid",
		hooks: func(storeRig) storeHooks {
			return storeHooks{write: func(ctx context.Context, req driver.WriteRequest, next writer) (driver.WriteResponse, error) {
				resp, err := next(ctx, req)
				if err == nil || !strings.Contains(err.Error(), "index") {
					return resp, err
				}
				return editing(func(op *driver.Op) { op.Record.Index = nil })(ctx, req, next)
			}}
		},
	},
}
