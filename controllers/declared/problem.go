package declared

import (
	"fmt"
)

// Reasons for which a declaration cannot be followed. They are the reasons of
// conditions, like those in package status and those that storage.ReasonOf names.
const (
	ReasonInvalidSpec     = "InvalidSpec"
	ReasonInvalidEndpoint = "InvalidEndpoint"
	ReasonInvalidValue    = "InvalidValue"
	ReasonPathRefused     = "PathRefused"
	ReasonPlaceOverlaps   = "PlaceOverlaps"
	ReasonRefRefused      = "RefKindRefused"
	ReasonSecretRefused   = "SecretRefused"
	ReasonAmbientRefused  = "AmbientCredentialsRefused"
	ReasonSecretNotFound  = "SecretNotFound"
	ReasonKeyNotFound     = "SecretKeyNotFound"
	ReasonSecretNotRead   = "SecretNotRead"
	ReasonEnvNotSet       = "EnvNotSet"
	ReasonFileNotRead     = "FileNotRead"
	ReasonScheduleInvalid = "ScheduleInvalid"
)

// Problem is one thing wrong with a backend: which condition it breaks and why.
// Its text holds no secret.
type Problem struct {
	Condition, Reason, Message string
	// Lost: the place gave no answer. It may answer the next time, and one lost
	// probe says little; a place that answered no has spoken.
	Lost bool
}

func (p *Problem) Error() string { return p.Condition + ": " + p.Reason + ": " + p.Message }

func Problemf(condition, reason, format string, args ...any) *Problem {
	return &Problem{Condition: condition, Reason: reason, Message: fmt.Sprintf(format, args...)}
}
