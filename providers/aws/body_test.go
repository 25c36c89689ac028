package aws_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest"
	"github.com/pop-platform/pop/providers/aws"
	"github.com/pop-platform/pop/providers/aws/awstest"
)

// TestLargeBodiesGoWithTheirRecords writes, replaces and deletes records whose bodies are in items or objects of their own.
func TestLargeBodiesGoWithTheirRecords(t *testing.T) {
	for name, bucket := range map[string]string{"in items": "", "in S3": "bodies"} {
		t.Run(name, func(t *testing.T) {
			server := awstest.New(awstest.Options{})
			o := options()
			o.Transport = server
			config := at("http://aws.test")
			config.Store.Bodies.Bucket = bucket
			s := openStore(t, config, o)
			if _, err := s.Migrate(t.Context(), driver.MigrateRequest{Schema: driver.Schema{Kinds: []driver.KindSchema{{Kind: "k"}}}}); err != nil {
				t.Fatal(err)
			}
			write := func(op driver.Op) driver.WriteResult {
				t.Helper()
				op.Record.Key = recordKey
				resp, err := s.Write(t.Context(), driver.WriteRequest{Groups: []driver.Group{{op}}})
				if err != nil {
					t.Fatal(err)
				}
				return resp.Results[0]
			}
			large, other := incompressible(1_000_000), incompressible(900_000)
			first := write(driver.Op{Record: driver.Record{Body: large}, Cond: driver.IfAbsent})
			second := write(driver.Op{Record: driver.Record{Body: other}, Cond: driver.IfVersion, Version: first.Versions[0]})
			lost := write(driver.Op{Record: driver.Record{Body: large}, Cond: driver.IfVersion, Version: first.Versions[0]})
			if !driver.IsConflict(lost.Err) || lost.Current == nil || !bytes.Equal(lost.Current.Body, other) {
				t.Errorf("a conflict shows %v with %v", lost.Current, lost.Err)
			}
			got, err := s.Get(t.Context(), driver.GetRequest{Keys: []driver.Key{recordKey}})
			if err != nil || !bytes.Equal(got.Records[0].Body, other) {
				t.Errorf("the body that is read is not the one that was written: %v", err)
			}
			if r := write(driver.Op{Type: driver.Delete, Cond: driver.IfVersion, Version: second.Versions[0]}); r.Err != nil {
				t.Error(r.Err)
			}
			write(driver.Op{Record: driver.Record{Body: large}})
			write(driver.Op{Record: driver.Record{Body: []byte("small")}})
			write(driver.Op{Type: driver.Delete})
			if items, objects := server.Items("pop"), server.Objects(); items > 0 || objects > 0 {
				t.Errorf("%d items and %d objects are left of a record that was deleted", items, objects)
			}
		})
	}
}

func TestABucketThatIsMissingIsNamed(t *testing.T) {
	for _, code := range []string{"NoSuchBucket", "PermanentRedirect"} { // the latter if it is in another region
		network := &faults{next: awstest.New(awstest.Options{}), instead: func(_ string, r *http.Request) (*http.Response, error) {
			if r.Header.Get("X-Amz-Target") != "" {
				return nil, nil
			}
			resp := answer(http.StatusNotFound, "<Error><Code>"+code+"</Code><Message>no</Message></Error>")
			resp.Header.Set("Content-Type", "application/xml")
			return resp, nil
		}}
		o := options()
		o.Transport = network
		config := at("http://aws.test")
		config.Store.Bodies.Bucket = "bodies"
		resp, err := openStore(t, config, o).Write(t.Context(), driver.WriteRequest{Groups: []driver.Group{{{
			Record: driver.Record{Key: recordKey, Body: incompressible(20_000)},
		}}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Results[0].Err; err == nil || !strings.Contains(err.Error(), "no bucket bodies in region us-east-1") || driver.OutcomeOf(err) != driver.NotApplied {
			t.Errorf("%s: %v", code, err)
		}
	}
}

func TestStoreConformsWithBodiesInS3(t *testing.T) {
	drivertest.RunStore(t, stores(t, 0, func(c *aws.Config) {
		c.Store.Bodies = aws.BodiesConfig{Bucket: "bodies", Above: 1}
	}))
}
