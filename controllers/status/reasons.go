package status

// Reasons of a StorageBackend's conditions, beside those of a declaration that
// cannot be followed (package declared) and those that storage.ReasonOf names.
const (
	ReasonResolved              = "Resolved"
	ReasonNotNeeded             = "NotNeeded"
	ReasonAmbient               = "Ambient"
	ReasonReached               = "Reached"
	ReasonForeignMarker         = "ForeignMarker"
	ReasonUnsupported           = "CapabilityUnsupported"
	ReasonNoMarker              = "NoMarker"
	ReasonNotRecorded           = "IdentityNotRecorded"
	ReasonProbed                = "Probed"
	ReasonReadOnly              = "ReadOnly"
	ReasonSuspended             = "ProbeSuspended"
	ReasonNotTried              = "NotTried"
	ReasonNothingStored         = "NothingStored"
	ReasonNeverVerified         = "NeverVerified"
	ReasonIntact                = "Intact"
	ReasonCorrupt               = "CorruptLocations"
	ReasonMissing               = "MissingLocations"
	ReasonNotFindable           = "FindingsNotRead"
	ReasonReady                 = "Ready"
	ReasonFailedLocations       = "ReadyWithFailedLocations"
	ReasonDeletionBlocked       = "DeletionBlocked"
	ReasonLastGoodFailed        = "LastCredentialsFailed"
	ReasonTerminating           = "Terminating"
	ReasonNotObserved           = "NotObserved"
	ReasonScheduled             = "Scheduled"
	ReasonLastRunFailed         = "LastRunFailed"
	ReasonVerificationSuspended = "VerificationSuspended"
	ReasonVerificationOverdue   = "VerificationOverdue"
)
