"""What each method hangs on a denoiser. `patch.py` puts it on and takes it off."""
