package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/httpapi"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/storage"
)

// failing fails every call that the tests below make.
type failing struct {
	registry.Registry
	err error
}

func (f failing) GetPackage(context.Context, registry.PackageRef) (registry.Package, error) {
	return registry.Package{}, f.err
}

func (f failing) Publish(context.Context, string, []byte) (registry.Publication, error) {
	return registry.Publication{}, f.err
}

const secret = "open /var/lib/secret: dial tcp 10.0.0.1: postgres://user:hunter2@db"

func TestErrorsGoThereAndBack(t *testing.T) {
	t.Parallel()
	invalid := &registry.InvalidError{Field: "files[3].path", Message: "must be better"}
	conflict := &registry.ConflictError{Field: "version", Message: "is taken", Existing: digest.Of([]byte("a")).SHA256}
	missing := &registry.IncompleteError{Count: 12, Paths: []string{"a", "b"}}
	mismatch := &storage.MismatchError{Want: digest.Dual{SHA256: digest.Of([]byte("a")).SHA256}, Got: digest.Of([]byte("b")), WantSize: storage.UnknownSize, GotSize: 1}
	notReady := &placement.NotReadyError{Explanation: placement.Explanation{Policy: "p", Rule: 2, Reason: "none is ready", Considered: []placement.Considered{{Backend: "b", Reason: "probe failed"}}}}
	offset := &registry.OffsetError{Want: 7, Got: 3}
	for _, c := range []struct {
		err    error
		status int
	}{
		{invalid, 400}, {conflict, 409}, {missing, 409}, {mismatch, 400}, {notReady, 503}, {offset, 409},
		{registry.ErrNotFound, 404}, {registry.ErrPublished, 409}, {registry.ErrExpired, 410}, {registry.ErrNoRule, 503}, {registry.ErrNoReadyBackend, 503},
		{registry.ErrFailedLocation, 500}, {registry.ErrAbandoned, 410}, {registry.ErrUnavailable, 503}, {placement.ErrUnknownBackend, 503}, {storage.ErrRange, 416}, {storage.ErrSource, 400},
		{storage.ErrTooLarge, 413}, {storage.ErrFull, 507}, {storage.ErrThrottled, 503}, {storage.ErrUnreachable, 503}, {storage.ErrDenied, 503}, {storage.ErrNoPlace, 503}, {storage.ErrClass, 503},
	} {
		wrapped := fmt.Errorf("%s: %w", secret, c.err)
		var log logBuffer
		s := &site{t: t, address: serve(t, httpapi.NewHandler(failing{err: wrapped}, httpapi.Options{Logger: log.logger()}))}
		client := newClient(t, s.address)
		_, viaHuma := client.GetPackage(context.Background(), registry.PackageRef{Producer: "a", Name: "b", Version: "c"})
		_, viaBytes := client.Publish(context.Background(), "x", nil)
		for _, got := range []error{viaHuma, viaBytes} {
			switch c.err.(type) {
			case *registry.InvalidError, *registry.ConflictError, *registry.IncompleteError, *storage.MismatchError, *placement.NotReadyError, *registry.OffsetError:
				if fmt.Sprintf("%T %+v", got, got) != fmt.Sprintf("%T %+v", c.err, c.err) {
					t.Errorf("got %T %+v, want %T %+v", got, got, c.err, c.err)
				}
			default:
				if !errors.Is(got, c.err) {
					t.Errorf("got %v, want: %v", got, c.err)
				}
			}
		}
		for _, request := range [][2]string{{"GET", "/v1/packages/a/b/c"}, {"POST", "/v1/uploads/x/publish"}} {
			response, text := s.do(request[0], request[1], "")
			var p httpapi.Problem
			if err := json.Unmarshal([]byte(text), &p); err != nil || response.StatusCode != c.status || p.Status != c.status || p.Type == "" || p.RequestID == "" {
				t.Errorf("%v: got %s %s, want a %d problem", c.err, response.Status, text, c.status)
			}
			if response.Header.Get("Content-Type") != "application/problem+json" || response.Header.Get("X-Request-Id") != p.RequestID {
				t.Errorf("%v: headers %v", c.err, response.Header)
			}
			if strings.Contains(text, "secret") || strings.Contains(text, "hunter2") {
				t.Errorf("%v: the inside shows: %s", c.err, text)
			}
			if got := response.Header.Values("Cache-Control"); len(got) != 1 || got[0] != "no-store" {
				t.Errorf("%v: Cache-Control %q", c.err, got)
			}
			if logged := log.String(); strings.Contains(logged, "ERROR") != (c.status >= 500 && c.status != 503) || strings.Contains(logged, "WARN") != (c.status == 503) {
				t.Errorf("%v, a %d, is logged as %s", c.err, c.status, logged)
			}
			if (c.status == 503) != (response.Header.Get("Retry-After") != "") {
				t.Errorf("%v: Retry-After is %q", c.err, response.Header.Get("Retry-After"))
			}
		}
	}
}

// denying is a registry whose backend refuses one verb.
type denying struct {
	registry.Registry
	begun bool // a report was sent before
}

var errDenied = fmt.Errorf("%s: %w", secret, &storage.PlaceError{Kind: storage.ErrDenied, Reason: storage.ReasonAccessDenied,
	Message: "list uploads in bucket b: access is denied, which needs s3:ListBucketMultipartUploads"})

func (d denying) SweepBackend(_ context.Context, _ string, _ bool, progress func(registry.SweepReport)) (registry.SweepReport, error) {
	if d.begun {
		progress(registry.SweepReport{})
	}
	return registry.SweepReport{Error: secret}, errDenied
}

func (denying) ProbeBackend(context.Context, string) (placement.ProbeReport, error) {
	return placement.ProbeReport{}, errDenied
}

// Who tends a backend is told in the driver's words what is wrong with it.
func TestPlacesSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, begun := range []bool{false, true} {
		var log logBuffer
		client := newClient(t, serve(t, httpapi.NewHandler(denying{begun: begun}, httpapi.Options{Logger: log.logger()})))
		report, sweeping := client.SweepBackend(context.Background(), "b", false, nil)
		_, probing := client.ProbeBackend(context.Background(), "b")
		for verb, err := range map[string]error{"sweep": sweeping, "probe": probing} {
			text := fmt.Sprint(err, report)
			if !errors.Is(err, storage.ErrDenied) || !strings.Contains(text, "list uploads in bucket b: access is denied, which needs s3:ListBucketMultipartUploads") {
				t.Errorf("%s: %v", verb, err)
			}
			if strings.Contains(text, "secret") || strings.Contains(text, "hunter2") {
				t.Errorf("%s: the inside shows: %s", verb, text)
			}
		}
		if !strings.Contains(log.String(), "/var/lib/secret") {
			t.Errorf("the log has not the detail: %s", log.String())
		}
	}
}

func TestUnknownErrorIsFlat(t *testing.T) {
	t.Parallel()
	var log logBuffer
	s := &site{t: t, address: serve(t, httpapi.NewHandler(failing{err: errors.New(secret)}, httpapi.Options{Logger: log.logger()}))}
	for _, request := range [][2]string{{"GET", "/v1/packages/a/b/c"}, {"POST", "/v1/uploads/x/publish"}} {
		response, text := s.do(request[0], request[1], "")
		var p httpapi.Problem
		if err := json.Unmarshal([]byte(text), &p); err != nil || response.StatusCode != 500 || p.Detail != "" || len(p.Errors) != 0 {
			t.Errorf("got %s %s, want a flat 500", response.Status, text)
		}
		if strings.Contains(text, "secret") {
			t.Errorf("the inside shows: %s", text)
		}
		if !strings.Contains(log.String(), p.RequestID) || !strings.Contains(log.String(), "/var/lib/secret") {
			t.Errorf("the log has not the detail of %s: %s", p.RequestID, log.String())
		}
	}
	_, err := newClient(t, s.address).Publish(context.Background(), "x", nil)
	var remote *httpapi.RemoteError
	if !errors.As(err, &remote) || remote.Problem.Status != 500 || !strings.Contains(err.Error(), remote.Problem.RequestID) {
		t.Errorf("got %v, want a RemoteError with its request id", err)
	}
}

// panicking panics.
type panicking struct{ registry.Registry }

func (panicking) GetManifest(context.Context, digest.Digest) ([]byte, error) { panic(secret) }

func (panicking) GetUpload(context.Context, string) (registry.Upload, error) { panic(secret) }

func TestPanicIsFlat(t *testing.T) {
	t.Parallel()
	s := &site{t: t, address: serve(t, httpapi.NewHandler(panicking{}, httpapi.Options{Logger: quiet()}))}
	for _, path := range []string{"/v1/manifests/" + digest.Of(nil).SHA256.String(), "/v1/uploads/x"} {
		response, text := s.do("GET", path, "")
		if response.StatusCode != 500 || response.Header.Get("Content-Type") != "application/problem+json" || strings.Contains(text, "secret") {
			t.Errorf("got %s %s", response.Status, text)
		}
	}
}
