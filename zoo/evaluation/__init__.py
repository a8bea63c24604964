"""What a model's outputs are worth: metrics, intervals, calibration, and the report that holds them. No torch here."""
