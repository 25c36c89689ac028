package wire

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/pluginv1"
)

// sent returns a message as the other side gets it.
func sent[M proto.Message](t interface{ Fatal(...any) }, m M) M {
	bytes, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	got := m.ProtoReflect().New().Interface()
	if err := proto.Unmarshal(bytes, got); err != nil {
		t.Fatal(err)
	}
	return got.(M)
}

// anyError makes errors as drivers return them.
func anyError(t *rapid.T) *driver.Error {
	return &driver.Error{
		Code: driver.Code(rapid.IntRange(0, int(driver.Corrupt)).Draw(t, "code")), Source: driver.Source(rapid.IntRange(0, 2).Draw(t, "source")),
		Outcome: driver.Outcome(rapid.IntRange(0, 1).Draw(t, "outcome")), Op: rapid.String().Draw(t, "op"), Message: rapid.String().Draw(t, "message"),
		RetryAfter: time.Duration(rapid.Int64Range(0, 1<<40).Draw(t, "retry after")),
	}
}

func TestErrorsCrossUnchanged(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := anyError(t)
		wrapped := fmt.Errorf("driver: %w", want)
		if diff := cmp.Diff(error(want), ErrorFromProto(sent(t, ErrorToProto(wrapped)))); diff != "" {
			t.Errorf("in a response (-want +got):\n%s", diff)
		}
		s, ok := status.FromError(ToStatus(wrapped))
		if !ok {
			t.Fatal("it is no status")
		}
		got, ok := FromStatus(status.FromProto(sent(t, s.Proto())).Err())
		if diff := cmp.Diff(error(want), got); !ok || diff != "" {
			t.Errorf("as a status (-want +got):\n%s", diff)
		}
	})
}

func TestEveryCodeHasAMessageAndAStatusOfItsOwn(t *testing.T) {
	t.Parallel()
	seen := map[codes.Code]driver.Code{}
	for i, c := range errorCodes {
		if int(c.code) != i {
			t.Errorf("%s is at place %d", c.code, i)
		}
		if other, twice := seen[c.grpc]; twice {
			t.Errorf("%s and %s are both %s", c.code, other, c.grpc)
		}
		seen[c.grpc] = c.code
		if got := status.Code(ToStatus(&driver.Error{Code: c.code})); got != c.grpc {
			t.Errorf("%s is sent as %s, want %s", c.code, got, c.grpc)
		}
	}
	if next := driver.Code(len(errorCodes)); next.String() != fmt.Sprintf("code %d", len(errorCodes)) {
		t.Errorf("code %s has no message", next)
	}
}

func TestErrorsThatADriverDidNotClassifyAreFaultsOfThePluginWithAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	got := ErrorFromProto(ErrorToProto(errors.New("oops")))
	want := &driver.Error{Code: driver.Internal, Source: driver.Plugin, Outcome: driver.Unknown, Message: "oops"}
	if diff := cmp.Diff(error(want), got); diff != "" {
		t.Error(diff)
	}
	if ErrorToProto(nil) != nil || ErrorFromProto(nil) != nil || ToStatus(nil) != nil {
		t.Error("no error became one")
	}
	cause := &driver.Error{Code: driver.Unavailable, Err: errors.New("no route to host")}
	if got := ErrorToProto(cause).GetMessage(); got != "no route to host" {
		t.Errorf("message %q, want that of the cause", got)
	}
}

func TestEndsOfContextsCross(t *testing.T) {
	t.Parallel()
	for _, want := range []error{context.Canceled, context.DeadlineExceeded} {
		for _, err := range []error{want, fmt.Errorf("write: %w", want), &driver.Error{Code: driver.Unavailable, Err: want}} {
			got, ok := FromStatus(ToStatus(err))
			if !ok || !errors.Is(got, want) || driver.OutcomeOf(got) != driver.Unknown {
				t.Errorf("%v came as %v, %s", err, got, driver.OutcomeOf(got))
			}
		}
	}
}

func TestErrorsOfOthersAreNotTakenForADrivers(t *testing.T) {
	t.Parallel()
	for _, err := range []error{status.Error(codes.Unavailable, "transport is closing"), errors.New("oops"), nil} {
		if got, ok := FromStatus(err); ok {
			t.Errorf("%v was taken for %v", err, got)
		}
	}
}

func TestWhatIsUnknownOrMissingIsTakenForTheWorst(t *testing.T) {
	t.Parallel()
	got := ErrorFromProto(&pluginv1.Error{Code: 99, Source: 99, Outcome: 99})
	if diff := cmp.Diff(error(&driver.Error{Code: driver.Internal, Outcome: driver.Unknown}), got); diff != "" {
		t.Error(diff)
	}
	if caps := StoreCapabilitiesFromProto(&pluginv1.GetStoreCapabilitiesResponse{}); caps != (driver.StoreCapabilities{}) {
		t.Errorf("a store that says nothing can do %+v", caps)
	}
	if caps := QueueCapabilitiesFromProto(&pluginv1.GetQueueCapabilitiesResponse{Depth: 99, Purge: -1}); caps != (driver.QueueCapabilities{}) {
		t.Errorf("a queue that says what nobody knows can do %+v", caps)
	}
	ops := WriteFromProto(&pluginv1.WriteRequest{Groups: []*pluginv1.Group{{Ops: []*pluginv1.Op{{
		Record: &pluginv1.Record{Key: &pluginv1.Key{Kind: "k", Part: "p", Sort: "s"}},
	}}}}})
	if err := ops.Validate(driver.StoreCapabilities{MaxGroupOps: 1}); driver.CodeOf(err) != driver.Invalid {
		t.Errorf("an operation that says nothing: %v, want Invalid", err)
	}
	if s := ServiceFromProto(99); s != "" {
		t.Errorf("an unknown service is %q", s)
	}
}

func anyKey(t *rapid.T) driver.Key {
	return driver.Key{
		Kind: driver.Kind(rapid.StringN(1, 8, -1).Draw(t, "kind")), Part: rapid.StringN(1, 8, -1).Draw(t, "part"), Sort: rapid.StringN(1, 8, -1).Draw(t, "sort"),
	}
}

func anyBytes(t *rapid.T, name string) string {
	return string(rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, name))
}

func anyRecord(t *rapid.T) driver.Record {
	r := driver.Record{
		Key: anyKey(t), Version: driver.Version("v" + anyBytes(t, "version")), Body: []byte(anyBytes(t, "body")),
		Index: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) driver.IndexEntry {
			return driver.IndexEntry{Index: rapid.String().Draw(t, "index"), Part: rapid.String().Draw(t, "part"), Sort: rapid.String().Draw(t, "sort")}
		}), 0, 3).Draw(t, "entries"),
	}
	if rapid.Bool().Draw(t, "expires") {
		r.ExpireAt = time.Unix(rapid.Int64Range(-1<<33, 1<<33).Draw(t, "at"), 0)
	}
	return r
}

var sameRecords = cmp.Options{cmpopts.EquateEmpty(), cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })}

func TestRecordsCrossUnchanged(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		page := driver.ScanResponse{Records: rapid.SliceOfN(rapid.Custom(anyRecord), 0, 4).Draw(t, "records"), Next: anyBytes(t, "next")}
		if diff := cmp.Diff(page, PageFromProto(sent(t, PageToProto(page))), sameRecords); diff != "" {
			t.Errorf("page (-want +got):\n%s", diff)
		}
		var found []*driver.Record
		var keys []driver.Key
		for i := range page.Records {
			found, keys = append(found, &page.Records[i], nil), append(keys, page.Records[i].Key, anyKey(t))
		}
		if diff := cmp.Diff(found, FoundFromProto(sent(t, FoundToProto(found)), keys), sameRecords); diff != "" {
			t.Errorf("found (-want +got):\n%s", diff)
		}
		results := []driver.WriteResult{
			{Versions: []driver.Version{"", driver.Version(anyBytes(t, "version"))}},
			{Err: anyError(t), Failed: 3},
			{Err: anyError(t), Current: &driver.Record{Key: anyKey(t), Version: "v", Body: []byte("b")}},
		}
		if diff := cmp.Diff(results, ResultsFromProto(sent(t, ResultsToProto(results))), sameRecords); diff != "" {
			t.Errorf("results (-want +got):\n%s", diff)
		}
	})
}

func TestWritesCrossUnchanged(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		groups := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) driver.Group {
			return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) driver.Op {
				op := driver.Op{Type: driver.OpType(rapid.IntRange(0, 2).Draw(t, "type")), Cond: driver.Cond(rapid.IntRange(0, 2).Draw(t, "cond"))}
				op.Record = anyRecord(t)
				op.Record.Version = ""
				if op.Type != driver.Put {
					op.Record = driver.Record{Key: op.Record.Key}
				}
				if op.Cond == driver.IfVersion {
					op.Version = driver.Version(anyBytes(t, "version"))
				}
				return op
			}), 0, 3).Draw(t, "group")
		}), 0, 3).Draw(t, "groups")
		got := WriteFromProto(sent(t, WriteToProto(groups)))
		if diff := cmp.Diff(driver.WriteRequest{Groups: groups}, got, sameRecords); diff != "" {
			t.Errorf("groups (-want +got):\n%s", diff)
		}
		scan := driver.ScanRequest{
			Kind: "k", Index: "i", Part: "p", From: rapid.String().Draw(t, "from"), To: rapid.String().Draw(t, "to"),
			Reverse: rapid.Bool().Draw(t, "reverse"), Limit: rapid.IntRange(0, 1<<40).Draw(t, "limit"), Cursor: anyBytes(t, "cursor"),
		}
		if diff := cmp.Diff(scan, ScanFromProto(sent(t, ScanToProto(scan)))); diff != "" {
			t.Errorf("scan (-want +got):\n%s", diff)
		}
	})
}

func TestEverythingElseCrossesUnchanged(t *testing.T) {
	t.Parallel()
	check := func(what string, want, got any) {
		t.Helper()
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	store := driver.StoreCapabilities{
		MaxRecordBytes: 1, MaxGroupOps: 2, MaxScanLimit: 3, CheapGroups: true, FreshIndexes: true, ReturnsCurrent: true, Shared: true, ExpiryLag: time.Hour,
	}
	check("store", store, StoreCapabilitiesFromProto(sent(t, StoreCapabilitiesToProto(store))))
	queue := driver.QueueCapabilities{
		MaxBatch: 1, MaxBytes: 2, MaxWait: 3, MinLease: 4, MaxLease: 5, Depth: driver.Exact, Purge: driver.Eventual, Durable: true,
	}
	check("queue", queue, QueueCapabilitiesFromProto(sent(t, QueueCapabilitiesToProto(queue))))
	auth := driver.AuthorizerCapabilities{Headers: []string{"Authorization"}, Challenge: "Bearer"}
	check("authorizer", auth, AuthorizerCapabilitiesFromProto(sent(t, AuthorizerCapabilitiesToProto(auth))))
	description := driver.Description{
		Name: "n", Version: "v", Services: []driver.Service{driver.StoreService, driver.QueueService, driver.AuthorizerService}, Schema: []byte("{}"),
	}
	check("description", description, DescriptionFromProto(sent(t, DescriptionToProto(description))))
	migrate := driver.MigrateRequest{DryRun: true, Schema: driver.Schema{Kinds: []driver.KindSchema{{Kind: "k", Indexes: []string{"a", "b"}}}}}
	check("migrate", migrate, MigrateFromProto(sent(t, MigrateToProto(migrate))))
	send := driver.SendRequest{Queue: "q", Messages: []driver.Message{{Group: "g", Body: []byte("\xff")}, {Body: []byte("b")}}}
	check("send", send, SendFromProto(sent(t, SendToProto(send.Queue, send.Messages))))
	errs := []error{nil, &driver.Error{Code: driver.Throttled, RetryAfter: time.Second}, nil}
	refused, ok := RefusalsFromProto(sent(t, RefusalsToProto(errs)), len(errs))
	check("refusals", errs, refused)
	if _, tooFar := RefusalsFromProto(RefusalsToProto(errs), 1); !ok || tooFar {
		t.Errorf("refusals of messages that were sent: %t, of others: %t", ok, tooFar)
	}
	receive := driver.ReceiveRequest{Queue: "q", Max: 3, Wait: time.Second, Lease: time.Minute}
	check("receive", receive, ReceiveFromProto(sent(t, ReceiveToProto(receive))))
	deliveries := []driver.Delivery{{Message: driver.Message{Group: "g", Body: []byte("b")}, Receipt: "\xff", Attempt: 2}}
	check("deliveries", deliveries, DeliveriesFromProto(sent(t, DeliveriesToProto(deliveries))))
	ack := driver.AckRequest{Queue: "q", Receipts: []string{"\xff", "b"}}
	check("ack", ack, AckFromProto(sent(t, AckToProto(ack))))
	authenticate := driver.AuthenticateRequest{Header: map[string][]string{"A": {"\xff", ""}, "B": {"b"}}, RemoteIP: "::1"}
	check("authenticate", authenticate, AuthenticateFromProto(sent(t, AuthenticateToProto(authenticate))))
	principal := driver.Principal{Subject: "s", Customers: []string{"a"}, Roles: []driver.Role{driver.RoleRead}, Global: true, NotAfter: time.Unix(1, 2).UTC()}
	check("principal", principal, PrincipalFromProto(sent(t, PrincipalToProto(principal))))
	check("nobody", driver.Principal{}, PrincipalFromProto(sent(t, PrincipalToProto(driver.Principal{}))))
}

// FuzzErrorFromStatus makes sure that nothing a plugin may answer does more than fail.
func FuzzErrorFromStatus(f *testing.F) {
	s, _ := status.FromError(ToStatus(&driver.Error{Code: driver.Throttled, RetryAfter: time.Second}))
	seed, err := proto.Marshal(s.Proto())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, bytes []byte) {
		m := status.New(codes.OK, "").Proto()
		if proto.Unmarshal(bytes, m) != nil {
			return
		}
		if err, ok := FromStatus(status.FromProto(m).Err()); ok != (err != nil) {
			t.Errorf("%v, %t", err, ok)
		}
	})
}
