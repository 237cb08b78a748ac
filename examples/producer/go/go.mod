module livecard-producer

go 1.24

require (
	github.com/google/uuid v1.6.0
	github.com/twmb/franz-go v1.22.3
)
