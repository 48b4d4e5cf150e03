"""What a run is told: types, defaults and help of every key, composed by Hydra, checked."""
