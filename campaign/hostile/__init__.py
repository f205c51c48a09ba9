"""Files and servers of an attacker who wants to run code, read other files, take the API key, hang a run or fill a disk."""
