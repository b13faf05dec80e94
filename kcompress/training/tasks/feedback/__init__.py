"""The gains of the closed loop before an encoder, learned through the encoder itself."""
