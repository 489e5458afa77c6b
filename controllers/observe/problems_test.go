package observe

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/api/v1alpha1"
	"github.com/coulomb/artifact-store/controllers/status"
	"github.com/coulomb/artifact-store/pkg/registry/registrar"
	"github.com/coulomb/artifact-store/pkg/storage"
)

func TestPlaceProblem(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err    error
		reason string
		lost   bool
	}{
		{&storage.PlaceError{Kind: storage.ErrUnreachable, Reason: storage.ReasonConnectionRefused, Message: "m"}, "ConnectionRefused", true},
		{&storage.PlaceError{Kind: storage.ErrDenied, Reason: storage.ReasonSecretKeyWrong, Message: "m"}, "SecretKeyWrong", false},
		{&storage.PlaceError{Kind: storage.ErrNoPlace, Reason: storage.ReasonBucketNotFound, Message: "m"}, "BucketNotFound", false},
		{&storage.PlaceError{Reason: storage.ReasonServerFailed, Message: "m"}, "ServerFailed", true},
		{errors.New("odd"), "Unknown", true},
	} {
		p := placeProblem(v1alpha1.ConditionReachable, tt.err)
		if p.Reason != tt.reason || p.Lost != tt.lost || p.Message != tt.err.Error() {
			t.Errorf("%v: %+v", tt.err, p)
		}
	}
	if p := identityProblem(fmt.Errorf("a: %w", registrar.ErrForeignMarker)); p.Reason != status.ReasonForeignMarker || p.Condition != v1alpha1.ConditionWritable || p.Lost {
		t.Errorf("%+v", p)
	}
	if p := identityProblem(errors.New("postgres://user:password@host is away")); p.Reason != status.ReasonNotRecorded || strings.Contains(p.Message, "password") {
		t.Errorf("%+v", p)
	}
}
