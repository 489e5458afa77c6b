package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/pkg/client"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/httpapi/server"
	"github.com/coulomb/artifact-store/pkg/httpapi/wire"
	"github.com/coulomb/artifact-store/pkg/registry"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
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
	missing := &registry.IncompleteError{Count: 12, Files: 20, Paths: []string{"a", "b"}, Partial: []registry.PartialFile{{Path: "b", Offset: 3, Size: storage.UnknownSize}}}
	mismatch := &storage.MismatchError{Want: digest.Dual{SHA256: digest.Of([]byte("a")).SHA256}, Got: digest.Of([]byte("b")), WantSize: storage.UnknownSize, GotSize: 1}
	notReady := &placement.NotReadyError{Explanation: placement.Explanation{Policy: "p", Rule: 2, Reason: "none is ready", Considered: []placement.Considered{{Backend: "b", Reason: "probe failed"}}}}
	offset := &registry.OffsetError{Want: 7, Got: 3}
	for _, c := range []struct {
		err    error
		status int
	}{
		{invalid, 400}, {conflict, 409}, {missing, 409}, {mismatch, 400}, {notReady, 503}, {offset, 409},
		{registry.ErrNotFound, 404}, {registry.ErrPublished, 409}, {registrar.ErrForeignMarker, 409}, {registrar.ErrNoMarker, 409}, {registrar.ErrOlderLog, 409}, {registry.ErrExpired, 410}, {registry.ErrNoRule, 503}, {registry.ErrNoReadyBackend, 503}, {registry.ErrFenced, 503},
		{registry.ErrFailedLocation, 500}, {registry.ErrAbandoned, 410}, {registry.ErrUnavailable, 503}, {placement.ErrUnknownBackend, 503}, {storage.ErrRange, 416}, {storage.ErrSource, 400},
		{storage.ErrTooLarge, 413}, {storage.ErrFull, 507}, {storage.ErrThrottled, 503}, {storage.ErrUnreachable, 503}, {storage.ErrDenied, 503}, {storage.ErrNoPlace, 503}, {storage.ErrClass, 503},
	} {
		wrapped := fmt.Errorf("%s: %w", secret, c.err)
		var log logBuffer
		s := &site{t: t, address: serve(t, server.NewHandler(failing{err: wrapped}, server.Options{Logger: log.logger()}))}
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
			var p wire.Problem
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

// ailing is a registry with whose backend something is wrong.
type ailing struct {
	registry.Registry
	err   error
	begun bool // a report was sent before
}

func (a ailing) SweepBackend(_ context.Context, _ string, _ bool, progress func(registry.SweepReport)) (registry.SweepReport, error) {
	if a.begun {
		progress(registry.SweepReport{})
	}
	return registry.SweepReport{Error: secret}, a.err
}

func (a ailing) VerifyBackend(_ context.Context, _ string, _ registry.VerifyOptions, progress func(registry.VerifyReport)) (registry.VerifyReport, error) {
	if a.begun {
		progress(registry.VerifyReport{})
	}
	return registry.VerifyReport{Error: secret}, a.err
}

func (a ailing) ProbeBackend(context.Context, string) (registrar.ProbeReport, error) {
	return registrar.ProbeReport{}, a.err
}

func (a ailing) ListLocations(context.Context, string, registry.LocationQuery) (registry.LocationPage, error) {
	return registry.LocationPage{}, a.err
}

func (a ailing) RecordFindings(context.Context, string, registry.VerifyFindings) (registry.RecordedFindings, error) {
	return registry.RecordedFindings{}, a.err
}

func (a ailing) OpenBlob(context.Context, digest.Digest, *storage.Range) (io.ReadCloser, registry.BlobInfo, error) {
	return nil, registry.BlobInfo{}, a.err
}

// Who tends a backend is told in words what is wrong with it, and where it is; who reads from it is not.
func TestPlacesSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err, is error
		want    string
	}{
		{&storage.PlaceError{Kind: storage.ErrDenied, Reason: storage.ReasonAccessDenied, Message: "list uploads in bucket b: access is denied, which needs s3:ListBucketMultipartUploads"}, storage.ErrDenied,
			"503: The backend refused the registry's credentials, or denied it a permission: list uploads in bucket b: access is denied, which needs s3:ListBucketMultipartUploads"},
		{&registrar.MarkerError{Kind: registrar.ErrForeignMarker, Message: "bucket b belongs to the log x"}, registrar.ErrForeignMarker,
			"409: The bucket or folder belongs to another log or backend: bucket b belongs to the log x"},
		{&registrar.MarkerError{Kind: registrar.ErrNoMarker, Message: "bucket b answers, and it is not there"}, registrar.ErrNoMarker,
			"409: The bucket or folder has no identity object: bucket b answers, and it is not there"},
		{&registry.UnavailableError{Backend: "one", Reason: storage.ReasonBucketNotFound, Message: "bucket b does not exist"}, registry.ErrUnavailable,
			"503: The backend is not available: BucketNotFound: bucket b does not exist"},
	} {
		for _, begun := range []bool{false, true} {
			var log logBuffer
			client := newClient(t, serve(t, server.NewHandler(ailing{err: fmt.Errorf("%s: %w", secret, c.err), begun: begun}, server.Options{Logger: log.logger()})))
			swept, sweeping := client.SweepBackend(t.Context(), "b", false, nil)
			verified, verifying := client.VerifyBackend(t.Context(), "b", registry.VerifyOptions{}, nil)
			_, probing := client.ProbeBackend(t.Context(), "b")
			_, listing := client.ListLocations(t.Context(), "b", registry.LocationQuery{})
			_, recording := client.RecordFindings(t.Context(), "b", registry.VerifyFindings{})
			for verb, err := range map[string]error{"sweep": sweeping, "verify": verifying, "probe": probing, "list": listing, "record": recording} {
				text := fmt.Sprint(err, swept, verified)
				if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: %v", verb, err)
				}
				if strings.Contains(text, "secret") || strings.Contains(text, "hunter2") {
					t.Errorf("%s: the inside shows: %s", verb, text)
				}
			}
			if logged := log.String(); strings.Contains(logged, "/var/lib/secret") != strings.HasPrefix(c.want, "503") {
				t.Errorf("%v is logged as %s", c.err, logged)
			}
			_, _, reading := client.OpenBlob(t.Context(), digest.Of(nil).SHA256, nil)
			if !errors.Is(reading, c.is) || strings.Contains(reading.Error(), "bucket b") {
				t.Errorf("reading a blob: %v", reading)
			}
		}
	}
}

func TestUnknownErrorIsFlat(t *testing.T) {
	t.Parallel()
	var log logBuffer
	s := &site{t: t, address: serve(t, server.NewHandler(failing{err: errors.New(secret)}, server.Options{Logger: log.logger()}))}
	for _, request := range [][2]string{{"GET", "/v1/packages/a/b/c"}, {"POST", "/v1/uploads/x/publish"}} {
		response, text := s.do(request[0], request[1], "")
		var p wire.Problem
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
	var remote *client.RemoteError
	if !errors.As(err, &remote) || remote.Status != 500 || !strings.Contains(err.Error(), remote.RequestID) {
		t.Errorf("got %v, want a RemoteError with its request id", err)
	}
}

// panicking panics.
type panicking struct{ registry.Registry }

func (panicking) OpenManifest(context.Context, digest.Digest, *storage.Range) (io.ReadCloser, registry.BlobInfo, error) {
	panic(secret)
}

func (panicking) GetUpload(context.Context, string) (registry.Upload, error) { panic(secret) }

func TestPanicIsFlat(t *testing.T) {
	t.Parallel()
	s := &site{t: t, address: serve(t, server.NewHandler(panicking{}, server.Options{Logger: quiet()}))}
	for _, path := range []string{"/v1/manifests/" + digest.Of(nil).SHA256.String(), "/v1/uploads/x"} {
		response, text := s.do("GET", path, "")
		if response.StatusCode != 500 || response.Header.Get("Content-Type") != "application/problem+json" || strings.Contains(text, "secret") {
			t.Errorf("got %s %s", response.Status, text)
		}
	}
}
