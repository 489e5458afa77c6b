package main

import (
	"testing"

	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/storage"
)

func TestProbeVerdict(t *testing.T) {
	t.Parallel()
	one := func(name string, status storage.Support, needed bool, reason string) placement.ProbeResult {
		return placement.ProbeResult{Capability: storage.Capability{Name: name, Status: status}, Needed: needed, Reason: reason}
	}
	for want, results := range map[string][]placement.ProbeResult{
		"": {one("put", storage.Supported, true, ""), one("range", storage.Unsupported, false, storage.ReasonInvalidRequest)},
		"b: needed and not working: put; needed and not known to work: head": {
			one("put", storage.Unsupported, true, storage.ReasonAccessDenied), one("head", storage.SupportUnknown, true, storage.ReasonUnknown)},
		"b: needed and not known to work (Throttled): put, head": {
			one("put", storage.SupportUnknown, true, storage.ReasonThrottled), one("head", storage.SupportUnknown, true, storage.ReasonUnknown)},
		"b: needed and not working: list; needed and not known to work (Throttled): put": {
			one("put", storage.SupportUnknown, true, storage.ReasonThrottled), one("list", storage.Unsupported, true, "")},
	} {
		err := probeVerdict(placement.ProbeReport{Backend: "b", Results: results})
		if got := errorText(err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	well := []placement.ProbeResult{one("put", storage.Supported, true, "")}
	declared := placement.ProbeReport{Backend: "b", Results: well, Configuration: placement.ConfigurationDeclared, Reason: storage.ReasonAccessDenied, Message: "put was denied"}
	if got, want := errorText(probeVerdict(declared)), "b: this is what is declared now, which is not in service: AccessDenied: put was denied"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := probeVerdict(placement.ProbeReport{Backend: "b", Results: well, Configuration: placement.ConfigurationInService}); got != nil {
		t.Error(got)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
